//! A call of GEOSEARCH or its kin, taken apart.
//!
//! What a newcomer would get wrong: what is wrong with a call is told in Redis' order. The type of the key comes first, then each
//! argument in its turn; and of a key that is not there, a member is not looked for.

use basalt_storage::keyspace::SortedSet;

use super::arguments::{read_length, read_position, read_unit};
use super::cell::Position;
use super::shape::{Form, Shape};
use crate::commands::{Args, CommandError, Context, parse_i64};

/// A command of this family, by what it says before its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `key longitude latitude radius unit`
    Radius,
    /// `key member radius unit`
    RadiusByMember,
    /// `key`
    Search,
    /// `destination key`
    SearchStore,
}

impl Family {
    fn is_search(self) -> bool {
        matches!(self, Family::Search | Family::SearchStore)
    }

    /// The position of the key that is searched.
    pub(super) fn source(self) -> usize {
        if self == Family::SearchStore { 2 } else { 1 }
    }

    /// The position of the first option.
    fn first_option(self) -> usize {
        match self {
            Family::Radius => 6,
            Family::RadiusByMember => 5,
            Family::Search => 2,
            Family::SearchStore => 3,
        }
    }

    /// The name that errors tell, as most clients write it: how this one has, a shard is not told.
    fn name(self) -> &'static str {
        if self == Family::SearchStore { "GEOSEARCHSTORE" } else { "GEOSEARCH" }
    }
}

/// An order by distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Nearest,
    Farthest,
}

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query<'a> {
    family: Family,
    /// True if there are options to write the result to a key.
    may_store: bool,
    /// The center; none of a member of a key that is not there.
    center: Option<Position>,
    is_from_member: bool,
    is_from_position: bool,
    form: Option<Form>,
    /// The metres of the unit in which distances are told.
    pub(super) unit: f64,
    pub(super) with_distance: bool,
    pub(super) with_hash: bool,
    pub(super) with_position: bool,
    /// Members that are wanted at most; 0 for all.
    pub(super) count: u64,
    /// True if any of these many will do.
    pub(super) any: bool,
    pub(super) order: Option<Order>,
    /// The key that the result is written to.
    pub(super) destination: Option<&'a [u8]>,
    /// True if distances are written, and not the scores that the members have.
    pub(super) stores_distances: bool,
}

impl<'a> Query<'a> {
    /// Reads a call on `sorted_set`, if that is there; `may_store` of those that may end with STORE.
    pub(super) fn read(
        context: &Context<'_>,
        family: Family,
        may_store: bool,
        sorted_set: Option<&SortedSet>,
        args: Args<'a>,
    ) -> Result<Query<'a>, CommandError> {
        let mut query = Query {
            family,
            may_store,
            center: None,
            is_from_member: false,
            is_from_position: false,
            form: None,
            unit: 1.0,
            with_distance: false,
            with_hash: false,
            with_position: false,
            count: 0,
            any: false,
            order: None,
            destination: (family == Family::SearchStore).then(|| args[1]),
            stores_distances: false,
        };
        match family {
            Family::Radius => {
                query.center = Some(read_position(args[2], args[3])?);
                query.read_radius(args[4], args[5])?;
            }
            Family::RadiusByMember => {
                if let Some(sorted_set) = sorted_set {
                    query.center = Some(position_of(context, sorted_set, args[2])?);
                    query.read_radius(args[3], args[4])?;
                }
            }
            Family::Search | Family::SearchStore => {}
        }
        let mut words = &args[family.first_option()..];
        while let Some((word, rest)) = words.split_first() {
            let word = word.to_ascii_lowercase();
            words = match query.read_word(&word, rest) {
                Some(rest) => rest,
                None => match query.read_option(&word, rest)? {
                    Some(rest) => rest,
                    None => query.read_area(context, sorted_set, &word, rest)?,
                },
            };
        }
        query.check()?;
        Ok(query)
    }

    /// Reads an option of one word, and returns what follows; `None` if it is another one.
    fn read_word(&mut self, word: &[u8], rest: Args<'a>) -> Option<Args<'a>> {
        match word {
            b"withdist" => self.with_distance = true,
            b"withhash" => self.with_hash = true,
            b"withcoord" => self.with_position = true,
            b"any" => self.any = true,
            b"asc" => self.order = Some(Order::Nearest),
            b"desc" => self.order = Some(Order::Farthest),
            b"storedist" if self.family == Family::SearchStore => self.stores_distances = true,
            _ => return None,
        }
        Some(rest)
    }

    /// Reads COUNT, STORE or STOREDIST, and returns what follows; `None` if it is another option.
    fn read_option(&mut self, word: &[u8], rest: Args<'a>) -> Result<Option<Args<'a>>, CommandError> {
        let Some((argument, behind)) = rest.split_first() else { return Ok(None) };
        match word {
            b"count" => match parse_i64(argument)? {
                ..=0 => return Err(CommandError::text("ERR COUNT must be > 0")),
                count => self.count = count as u64,
            },
            b"store" | b"storedist" if self.may_store => {
                (self.destination, self.stores_distances) = (Some(*argument), word == b"storedist");
            }
            _ => return Ok(None),
        }
        Ok(Some(behind))
    }

    /// Reads what GEOSEARCH says of its area, and returns what follows.
    fn read_area(
        &mut self,
        context: &Context<'_>,
        sorted_set: Option<&SortedSet>,
        word: &[u8],
        rest: Args<'a>,
    ) -> Result<Args<'a>, CommandError> {
        if !self.family.is_search() {
            return Err(CommandError::SYNTAX);
        }
        let is_circle = matches!(self.form, Some(Form::Circle { .. }));
        let is_rectangle = matches!(self.form, Some(Form::Rectangle { .. }));
        Ok(match (word, rest) {
            (b"frommember", [member, rest @ ..]) if !self.is_from_position => {
                if let Some(sorted_set) = sorted_set {
                    self.center = Some(position_of(context, sorted_set, member)?);
                }
                self.is_from_member = true;
                rest
            }
            (b"fromlonlat", [longitude, latitude, rest @ ..]) if !self.is_from_member => {
                self.center = Some(read_position(longitude, latitude)?);
                self.is_from_position = true;
                rest
            }
            (b"byradius", [radius, unit, rest @ ..]) if !is_rectangle => {
                self.read_radius(radius, unit)?;
                rest
            }
            (b"bybox", [width, height, unit, rest @ ..]) if !is_circle => {
                self.read_rectangle(width, height, unit)?;
                rest
            }
            _ => return Err(CommandError::SYNTAX),
        })
    }

    fn read_radius(&mut self, radius: &[u8], unit: &[u8]) -> Result<(), CommandError> {
        let radius = read_length(radius, "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(CommandError::text("ERR radius cannot be negative"));
        }
        self.unit = read_unit(unit)?;
        self.form = Some(Form::Circle { radius: radius * self.unit });
        Ok(())
    }

    fn read_rectangle(&mut self, width: &[u8], height: &[u8], unit: &[u8]) -> Result<(), CommandError> {
        let width = read_length(width, "ERR need numeric width")?;
        let height = read_length(height, "ERR need numeric height")?;
        if height < 0.0 || width < 0.0 {
            return Err(CommandError::text("ERR height or width cannot be negative"));
        }
        self.unit = read_unit(unit)?;
        self.form = Some(Form::Rectangle { width: width * self.unit, height: height * self.unit });
        Ok(())
    }

    /// Checks that the options fit together.
    fn check(&self) -> Result<(), CommandError> {
        let is_search = self.family.is_search();
        if self.destination.is_some() && (self.with_distance || self.with_hash || self.with_position) {
            let what = if is_search { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(CommandError::owned(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if is_search && !self.is_from_member && !self.is_from_position {
            let name = self.family.name();
            return Err(CommandError::owned(format!(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )));
        }
        if is_search && self.form.is_none() {
            let name = self.family.name();
            return Err(CommandError::owned(format!(
                "ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"
            )));
        }
        if self.any && self.count == 0 {
            return Err(CommandError::text("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    /// The area of the search; `None` if the sorted set that it begins with is not there.
    pub(super) fn shape(&self) -> Option<Shape> {
        Some(Shape { center: self.center?, form: self.form? })
    }

    /// The order of the result: with a number of members that are not just any, the nearest ones come first unless it says else.
    pub(super) fn result_order(&self) -> Option<Order> {
        self.order.or((self.count > 0 && !self.any).then_some(Order::Nearest))
    }
}

/// The position of a member, which is there.
fn position_of(context: &Context<'_>, sorted_set: &SortedSet, member: &[u8]) -> Result<Position, CommandError> {
    let score = sorted_set.score(&context.keyspace, member)?;
    score.map(Position::of_score).ok_or(CommandError::text("ERR could not decode requested zset member"))
}
