//! Consumer groups, classic protocol (KIP-62, 134, 345, 394, 429).

mod answer;
mod call;
mod settings;

pub use answer::*;
pub use call::*;
pub use settings::GroupSettings;
