//! Puts and ranges of etcd, over gRPC.
//!
//! Only the fields that are used have a place in the messages: what a server says beside them is passed over, as protobuf has it.

use std::time::Duration;

use anyhow::{Context, Result};
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// A server that takes longer to answer is not ready.
const ANSWER_MAX: Duration = Duration::from_secs(2);

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(int64, tag = "4")]
    count: i64,
}

/// A connection to a server.
#[derive(Debug, Clone)]
pub struct Client(Grpc<Channel>);

impl Client {
    /// Connects to the server on `port`.
    ///
    /// # Errors
    /// If it does not listen.
    pub async fn connect(port: u16) -> Result<Client> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).context("it is an address")?;
        let channel = endpoint.tcp_nodelay(true).connect().await.context("etcd does not listen")?;
        Ok(Client(Grpc::new(channel)))
    }

    /// Writes a key.
    ///
    /// # Errors
    /// What the server says.
    pub async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let request = PutRequest { key: key.to_vec(), value: value.to_vec() };
        self.0.ready().await.context("the connection to etcd is gone")?;
        let codec = ProstCodec::<PutRequest, PutResponse>::default();
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        self.0.unary(tonic::Request::new(request), path, codec).await.context("etcd refuses a put")?;
        Ok(())
    }

    /// Reads a key, linearizably as etcd does by default; returns whether it is there.
    ///
    /// # Errors
    /// What the server says.
    pub async fn get(&mut self, key: &[u8]) -> Result<bool> {
        self.0.ready().await.context("the connection to etcd is gone")?;
        let codec = ProstCodec::<RangeRequest, RangeResponse>::default();
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Range");
        let request = tonic::Request::new(RangeRequest { key: key.to_vec() });
        let response = self.0.unary(request, path, codec).await.context("etcd refuses a range")?;
        Ok(response.get_ref().count > 0)
    }
}

/// Returns whether the cluster that the server on `port` belongs to takes a write, and gives it back.
///
/// # Errors
/// If the server cannot be asked.
pub fn takes_a_write(port: u16) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let asked = async {
            let mut client = Client::connect(port).await?;
            client.put(b"ready", b"yes").await?;
            client.get(b"ready").await
        };
        tokio::time::timeout(ANSWER_MAX, asked).await.context("etcd does not answer")?
    })
}
