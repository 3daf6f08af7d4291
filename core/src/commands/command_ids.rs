//! Ids of the log format, once more: a row of the table whose id is another one than here cannot read the logs that are written.

use std::collections::BTreeMap;

use super::table;

/// The id and the name of every command there is or was. New commands are added; no other line ever changes, not even when a
/// command goes: its id is not given to another one.
const IDS: &str = "
    1 get, 2 set, 3 setnx, 4 setex, 5 psetex, 6 getset, 7 getdel, 8 getex, 9 strlen, 10 append, 11 getrange,
    12 substr, 13 setrange, 14 mget, 15 mset, 16 msetnx, 17 incr, 18 decr, 19 incrby, 20 decrby, 21 incrbyfloat,
    22 lcs, 23 setbit, 24 getbit, 25 bitcount, 26 bitpos, 27 bitfield, 28 bitfield_ro, 29 bitop,
    30 pfadd, 31 pfcount, 32 pfmerge,
    101 del, 102 unlink, 103 exists, 104 touch, 105 type, 106 expire, 107 pexpire, 108 expireat, 109 pexpireat,
    110 persist, 111 ttl, 112 pttl, 113 expiretime, 114 pexpiretime, 115 rename, 116 renamenx, 117 copy, 118 scan,
    119 keys, 120 randomkey, 121 object, 122 dbsize, 123 flushdb, 124 flushall, 140 object|encoding,
    141 object|freq, 142 object|help, 143 object|idletime, 144 object|refcount, 195 step|delete, 196 step|write,
    197 step|read, 198 step|scan, 199 step|expire,
    201 lpush, 202 rpush, 203 lpushx, 204 rpushx, 205 lpop, 206 rpop, 207 llen, 208 lrange, 209 lindex, 210 lset,
    211 ltrim, 212 lpos, 213 lrem, 214 linsert, 215 lmpop, 216 lmove, 217 rpoplpush, 218 blpop, 219 brpop,
    220 blmove, 221 brpoplpush, 222 blmpop, 223 step|look,
    224 step|move,
    301 sadd, 302 srem, 303 scard, 304 sismember, 305 smismember, 306 smembers, 307 spop,
    308 srandmember, 309 sscan, 310 smove, 311 sunion, 312 sinter, 313 sdiff, 314 sintercard, 315 sunionstore,
    316 sinterstore, 317 sdiffstore,
    401 hset, 402 hmset, 403 hsetnx, 404 hget, 405 hmget, 406 hdel, 407 hlen, 408 hstrlen, 409 hexists,
    410 hgetall, 411 hkeys, 412 hvals, 413 hincrby, 414 hincrbyfloat, 415 hrandfield,
    416 hscan,
    501 zadd, 502 zincrby, 503 zrem, 504 zcard, 505 zscore, 506 zmscore, 507 zpopmin, 508 zpopmax, 509 zrange,
    510 zrevrange, 511 zrangebyscore, 512 zrevrangebyscore, 513 zrangebylex, 514 zrevrangebylex, 515 zcount,
    516 zlexcount, 517 zrank, 518 zrevrank, 519 zremrangebyrank, 520 zremrangebyscore, 521 zremrangebylex,
    522 zrandmember, 523 zscan, 524 zmpop, 525 zrangestore, 526 zunion, 527 zinter, 528 zdiff, 529 zintercard,
    530 zunionstore, 531 zinterstore, 532 zdiffstore, 533 bzpopmin, 534 bzpopmax, 535 bzmpop,
    601 xadd, 602 xtrim, 603 xlen, 604 xdel, 605 xrange, 606 xrevrange, 607 xsetid, 608 xread,
    609 xreadgroup, 610 xack, 611 xpending, 612 xclaim, 613 xautoclaim, 614 xgroup, 615 xinfo, 620 xgroup|create,
    621 xgroup|setid, 622 xgroup|destroy, 623 xgroup|createconsumer, 624 xgroup|delconsumer, 625 xgroup|help,
    630 xinfo|stream, 631 xinfo|groups, 632 xinfo|consumers, 633 xinfo|help,
    640 step|xread, 641 step|xreadgroup,
    701 command, 702 config, 706 info, 707 lastsave, 708 shutdown, 709 time, 710 role, 711 basalt, 712 wait, 713 waitaof, 720 command|count,
    721 command|docs, 722 command|getkeys, 723 command|getkeysandflags, 724 command|help, 725 command|info,
    726 command|list, 740 config|get, 741 config|help, 742 config|resetstat, 743 config|rewrite, 744 config|set,
    750 basalt|help, 751 basalt|reopen, 752 basalt|change, 753 basalt|map, 754 basalt|move,
    755 basalt|drain, 756 basalt|rebalance, 757 basalt|replace, 758 basalt|moves,
    801 auth, 802 client, 803 echo, 804 hello, 805 ping, 806 quit, 807 reset, 808 select, 809 acl, 820 client|getname,
    821 client|help, 822 client|id, 823 client|info, 824 client|kill, 825 client|list, 826 client|no-evict,
    827 client|no-touch, 828 client|reply, 829 client|setinfo, 830 client|setname,
    831 client|unblock, 840 acl|cat, 841 acl|deluser, 842 acl|dryrun, 843 acl|genpass, 844 acl|getuser, 845 acl|help,
    846 acl|list, 847 acl|load, 848 acl|log, 849 acl|save, 850 acl|setuser, 851 acl|users, 852 acl|whoami,
    901 publish, 902 subscribe, 903 unsubscribe, 904 psubscribe, 905 punsubscribe, 906 spublish, 907 ssubscribe,
    908 sunsubscribe, 909 pubsub, 920 pubsub|channels, 921 pubsub|help, 922 pubsub|numpat, 923 pubsub|numsub,
    924 pubsub|shardchannels, 925 pubsub|shardnumsub,
    1001 cluster, 1002 asking, 1003 readonly, 1004 readwrite, 1020 cluster|addslots, 1021 cluster|addslotsrange,
    1022 cluster|bumpepoch, 1023 cluster|count-failure-reports, 1024 cluster|countkeysinslot, 1025 cluster|delslots,
    1026 cluster|delslotsrange, 1027 cluster|failover, 1028 cluster|flushslots, 1029 cluster|forget,
    1030 cluster|getkeysinslot, 1031 cluster|help, 1032 cluster|info, 1033 cluster|keyslot, 1034 cluster|links,
    1035 cluster|meet, 1036 cluster|myid, 1037 cluster|myshardid, 1038 cluster|nodes, 1039 cluster|replicas,
    1040 cluster|replicate, 1041 cluster|reset, 1042 cluster|saveconfig, 1043 cluster|set-config-epoch,
    1044 cluster|setslot, 1045 cluster|shards, 1046 cluster|slaves, 1047 cluster|slots,
    1101 multi, 1102 exec, 1103 discard, 1104 watch, 1105 unwatch, 1190 step|exec, 1191 step|watch,
    1192 step|unwatch, 1193 step|prepare, 1194 step|decide, 1195 step|commit, 1196 step|abort, 1197 step|forget,
    1201 raft, 1210 raft|help, 1211 raft|status, 1212 raft|transfer, 1213 raft|snapshot,
    1301 eval, 1302 evalsha, 1303 eval_ro, 1304 evalsha_ro, 1305 script, 1320 script|exists, 1321 script|flush,
    1322 script|help, 1323 script|load, 1324 script|kill, 1380 step|try,
    1390 step|script, 1391 step|script_ro,
    1392 step|refuse,
    1330 fcall, 1331 fcall_ro, 1332 function, 1340 function|delete, 1341 function|dump, 1342 function|flush,
    1343 function|help, 1344 function|kill, 1345 function|list, 1346 function|load, 1347 function|restore,
    1348 function|stats, 1393 step|functions, 1394 step|function, 1395 step|function_ro, 1396 step|library,
    1401 geoadd, 1402 geopos, 1403 geodist, 1404 geohash, 1405 geosearch, 1406 geosearchstore, 1407 georadius,
    1408 georadius_ro, 1409 georadiusbymember, 1410 georadiusbymember_ro,
    1420 sort, 1421 sort_ro,
    1430 dump, 1431 restore, 1432 restore-asking, 1433 move, 1434 restore, 1435 restore-asking,
    1451 slowlog, 1452 slowlog|get, 1453 slowlog|help, 1454 slowlog|len, 1455 slowlog|reset,
    1456 client|getredir, 1457 client|pause, 1458 client|trackinginfo, 1459 client|unpause, 1460 lolwut,
    1461 latency, 1462 latency|doctor, 1463 latency|graph, 1464 latency|help, 1465 latency|histogram, 1466 latency|history,
    1467 latency|latest, 1468 latency|reset, 1469 memory, 1470 memory|doctor, 1471 memory|help, 1472 memory|malloc-stats,
    1530 client|caching, 1531 client|tracking,
    1473 memory|purge, 1474 memory|stats, 1475 memory|usage, 1476 monitor, 1477 debug, 1478 step|describe,
    1500 step|scan_all, 1501 module, 1502 module|help, 1503 module|list, 1504 replicaof, 1505 slaveof,
    1506 script|debug,
    1520 step|tell, 1521 step|remove,
    1540 basalt|once,
    1550 hexpire, 1551 hpexpire, 1552 hexpireat, 1553 hpexpireat, 1554 hpersist, 1555 httl, 1556 hpttl,
    1557 hexpiretime, 1558 hpexpiretime, 1559 step|expire_fields,
    1560 swapdb,
    1570 migrate, 1571 step|dump,
";

/// Names of [`IDS`] that are no commands any more.
const GONE: &[&str] = &[];

#[test]
fn ids_are_unique_and_never_change() {
    let mut pinned = BTreeMap::new();
    for line in IDS.split([',', '\n']).map(str::trim).filter(|line| !line.is_empty()) {
        let (id, name) = line.split_once(' ').expect("an id and a name");
        let id: u16 = id.parse().expect("an id");
        assert_eq!(pinned.insert(id, name), None, "{id} is here twice");
    }
    for id in 0..=u16::MAX {
        let is_pinned = pinned.get(&id).copied().filter(|name| !GONE.contains(name));
        assert_eq!(
            table::by_id(id).map(|command| command.name()),
            is_pinned,
            "the table, and what is written here of {id}"
        );
    }
}
