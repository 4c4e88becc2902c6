//! The proof that something is on the disk.

/// A value that is durable. Only the store makes one, of what its writer has committed;
/// acknowledgements and fan-out take nothing else, so that the compiler keeps "durable before visible".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<T>(T);

impl<T> Committed<T> {
    /// To be called where the writer has committed it, and by what it hands out then.
    pub(super) fn after_commit(value: T) -> Self {
        Self(value)
    }

    /// Something that follows from what is durable and adds nothing to it.
    pub fn map<U>(self, derive: impl FnOnce(T) -> U) -> Committed<U> {
        Committed(derive(self.0))
    }

    /// The value, for the one who acknowledges it.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> std::ops::Deref for Committed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
impl<T> Committed<T> {
    /// For tests of what takes nothing else.
    pub fn for_test(value: T) -> Self {
        Self(value)
    }
}
