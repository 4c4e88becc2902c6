//! What an image says of the server that comes with it.

use serde::{Deserialize, Serialize};

use crate::{Installed, PRODUCT, Root, Version};

/// The file beside the image's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRelease {
    /// [`PRODUCT`].
    pub product: String,
    /// As the image calls itself; for people.
    pub version: Version,
    /// That of the image's root.
    pub generation: u32,
    /// That of the release whose server the image has; 0 where it was never released.
    pub seq: u64,
}

impl ImageRelease {
    /// Of an image with this root.
    pub fn of(root: &Root, version: Version, seq: u64) -> Self {
        Self { product: PRODUCT.to_owned(), version, generation: root.generation, seq }
    }

    /// Where it stands among the releases, if it does.
    pub fn place(&self) -> Option<Installed> {
        let Self { generation, seq, .. } = *self;
        (self.product == PRODUCT && seq > 0).then_some(Installed { generation, seq })
    }
}
