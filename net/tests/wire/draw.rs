//! Random messages as bytes, straight from the schema files: a second, independent reading of the
//! notation and of the encoding rules, which the generated code is compared with.

use crate::schema::{Api, Field, Kind, Struct};

/// Numbers that look random and repeat from run to run (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// What the fields of a message hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Nothing default, every tagged field present.
    Full,
    /// Null wherever null is legal, no tagged field, nothing else default.
    Nulls,
    /// Anything legal.
    Random,
    /// As few bytes as possible for the value, arrays empty but for the one that is being filled.
    Least,
}

/// One way to draw a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) response: bool,
    pub(crate) version: i16,
    pub(crate) fill: Fill,
    pub(crate) seed: u64,
    /// Adds tagged fields that nobody knows.
    pub(crate) unknown_tags: bool,
    /// Writes null for the value at this position among those where null is illegal.
    pub(crate) illegal_null_at: Option<usize>,
    /// With [`Fill::Least`], the array at this position (by schema) gets this many elements.
    pub(crate) crowd: Option<(usize, usize)>,
}

impl Plan {
    pub(crate) const fn new(response: bool, version: i16, fill: Fill, seed: u64) -> Self {
        Self {
            response,
            version,
            fill,
            seed,
            unknown_tags: false,
            illegal_null_at: None,
            crowd: None,
        }
    }
}

/// A drawn message.
pub(crate) struct Drawn {
    pub(crate) bytes: Vec<u8>,
    /// How many values were met where null would be illegal.
    pub(crate) never_null: usize,
}

/// The body of a message, without a header.
pub(crate) fn draw(api: &Api, plan: Plan) -> Drawn {
    let mut pen = Pen {
        api,
        plan,
        dice: Dice::new(plan.seed),
        noise: Dice::new(!plan.seed),
        flexible: plan.version >= api.flexible_from,
        never_null: 0,
    };
    let root = if plan.response { "Response" } else { "Request" };
    let mut bytes = Vec::new();
    pen.fields(&mut bytes, api.find(root), false);
    Drawn {
        bytes,
        never_null: pen.never_null,
    }
}

/// The array fields that a message of this version has, by position: see [`Plan::crowd`].
pub(crate) fn arrays(api: &Api, response: bool, version: i16) -> usize {
    let root = if response { "Response" } else { "Request" };
    array_names(api, api.find(root), version).len()
}

fn array_names<'a>(api: &'a Api, found: &'a Struct, version: i16) -> Vec<(&'a str, &'a str)> {
    let mut names = Vec::new();
    for field in found.fields.iter().filter(|field| field.has(version)) {
        if matches!(field.kind, Kind::Array(_)) {
            names.push((found.name.as_str(), field.name.as_str()));
        }
        if let Some(name) = crate::schema::struct_name(&field.kind) {
            names.extend(array_names(api, api.find(name), version));
        }
    }
    names
}

struct Pen<'a> {
    api: &'a Api,
    plan: Plan,
    dice: Dice,
    /// For what is added without changing anything else that is drawn.
    noise: Dice,
    flexible: bool,
    never_null: usize,
}

impl Pen<'_> {
    /// With `strict`, not all fields may hold their default.
    fn fields(&mut self, out: &mut Vec<u8>, found: &Struct, strict: bool) {
        let version = self.plan.version;
        let (plain, mut tagged): (Vec<&Field>, Vec<&Field>) = found
            .fields
            .iter()
            .filter(|field| field.has(version))
            .partition(|field| field.tag.is_none());
        for field in plain {
            self.field(out, found, field, strict);
        }
        if !self.flexible {
            return;
        }
        tagged.sort_by_key(|field| field.tag);
        tagged.retain(|field| match self.plan.fill {
            Fill::Full => true,
            Fill::Nulls => false,
            Fill::Random => self.dice.coin(),
            Fill::Least => self.crowds(found, field).is_some(),
        });
        let unknown = if self.plan.unknown_tags {
            1 + self.noise.below(3)
        } else {
            0
        };
        varint(out, tagged.len() + unknown);
        for field in tagged {
            let mut value = Vec::new();
            self.field(&mut value, found, field, true);
            varint(out, field.tag.expect("a tagged field") as usize);
            varint(out, value.len());
            out.append(&mut value);
        }
        for index in 0..unknown {
            let length = [0, 1, 20, 200][self.noise.below(4)];
            varint(out, 100 + index * 1_000_000);
            varint(out, length);
            out.extend((0..length).map(|_| self.noise.next() as u8));
        }
    }

    fn field(&mut self, out: &mut Vec<u8>, found: &Struct, field: &Field, strict: bool) {
        let can_be_null = !matches!(
            field.kind,
            Kind::Bool
                | Kind::Int8
                | Kind::Int16
                | Kind::Uint16
                | Kind::Int32
                | Kind::Int64
                | Kind::Uuid
        );
        if field.nullable_in(self.plan.version) {
            let null = match self.plan.fill {
                Fill::Full => false,
                Fill::Nulls => true,
                Fill::Random => !strict && self.dice.below(4) == 0,
                Fill::Least => self.crowds(found, field).is_none(),
            };
            if matches!(field.kind, Kind::Struct(_)) {
                out.push(if null { 0xff } else { 1 });
                if null {
                    return;
                }
            } else if null {
                return self.length(out, &field.kind, None);
            }
        } else if can_be_null && !matches!(field.kind, Kind::Struct(_)) {
            self.never_null += 1;
            if self.plan.illegal_null_at == Some(self.never_null - 1) {
                return self.length(out, &field.kind, None);
            }
        }
        if let Kind::Array(element) = &field.kind {
            let count = match self.plan.fill {
                Fill::Least => self.crowds(found, field).unwrap_or(0),
                Fill::Random if !strict => self.dice.below(4),
                _ => 1 + self.dice.below(2),
            };
            self.length(out, &field.kind, Some(count));
            for _ in 0..count {
                self.value(out, element, None, strict);
            }
            return;
        }
        self.value(out, &field.kind, Some(field), strict);
    }

    /// How many elements the plan wants for this array: many for the crowded one, one for those
    /// that lead to it.
    fn crowds(&self, found: &Struct, field: &Field) -> Option<usize> {
        let (position, count) = self.plan.crowd?;
        let root = if self.plan.response {
            "Response"
        } else {
            "Request"
        };
        let names = array_names(self.api, self.api.find(root), self.plan.version);
        let target = names[position];
        if target == (found.name.as_str(), field.name.as_str()) {
            return Some(count);
        }
        let inner = self.api.find(crate::schema::struct_name(&field.kind)?);
        array_names(self.api, inner, self.plan.version)
            .contains(&target)
            .then_some(1)
    }

    fn value(&mut self, out: &mut Vec<u8>, kind: &Kind, field: Option<&Field>, strict: bool) {
        let default = field.and_then(|field| field.default.as_deref());
        match kind {
            Kind::Bool => {
                let default = default == Some("true");
                let random = self.plan.fill == Fill::Random && !strict && self.dice.coin();
                out.push(u8::from(if random { default } else { !default }));
            }
            Kind::Int8 => self.integer(out, 1, default, strict),
            Kind::Int16 | Kind::Uint16 => self.integer(out, 2, default, strict),
            Kind::Int32 => self.integer(out, 4, default, strict),
            Kind::Int64 => self.integer(out, 8, default, strict),
            Kind::Uuid => {
                let zero = self.plan.fill == Fill::Random && !strict && self.dice.coin();
                let (high, low) = (self.dice.next(), self.dice.next());
                let id = if zero {
                    0
                } else {
                    u128::from(high) << 64 | u128::from(low)
                };
                out.extend(id.to_be_bytes());
            }
            Kind::String => {
                let text = self.text(strict);
                self.length(out, kind, Some(text.len()));
                out.extend(text.as_bytes());
            }
            Kind::Bytes | Kind::Records => {
                let length = match self.plan.fill {
                    Fill::Least => 0,
                    Fill::Random if !strict => [0, 1, 100, 3_000][self.dice.below(4)],
                    _ => 1 + self.dice.below(150),
                };
                self.length(out, kind, Some(length));
                out.extend((0..length).map(|_| self.dice.next() as u8));
            }
            Kind::Struct(name) => self.fields(out, self.api.find(name), strict),
            Kind::Array(_) => unreachable!("an array of arrays"),
        }
    }

    fn integer(&mut self, out: &mut Vec<u8>, size: usize, default: Option<&str>, strict: bool) {
        let default = default.map_or(0, |text| match text.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16).expect("a hexadecimal default"),
            None => text.parse().expect("a decimal default"),
        });
        let default = &default.to_be_bytes()[8 - size..];
        if self.plan.fill == Fill::Random && !strict && self.dice.below(4) == 0 {
            return out.extend(default);
        }
        loop {
            let wide = match self.dice.below(4) {
                0 => [0, 1, u64::MAX, u64::MAX >> 1, 1 << 63][self.dice.below(5)],
                _ => self.dice.next(),
            };
            let value = &wide.to_be_bytes()[8 - size..];
            if value != default {
                return out.extend(value);
            }
        }
    }

    fn text(&mut self, strict: bool) -> String {
        let letters = match self.plan.fill {
            Fill::Least => 0,
            Fill::Random if !strict => [0, 3, 11, 130][self.dice.below(4)],
            _ => 1 + self.dice.below(12),
        };
        let alphabet = ['a', 'Z', '7', '.', '-', 'é', '日', '𝄞'];
        (0..letters)
            .map(|_| alphabet[self.dice.below(alphabet.len())])
            .collect()
    }

    fn length(&mut self, out: &mut Vec<u8>, kind: &Kind, length: Option<usize>) {
        if self.flexible {
            return varint(out, length.map_or(0, |length| length + 1));
        }
        let length = length.map_or(-1, |length| length as i64).to_be_bytes();
        let size = if *kind == Kind::String { 2 } else { 4 };
        out.extend(&length[8 - size..]);
    }
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
