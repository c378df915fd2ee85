//! Words shared between CPUs and between kernel and user space.
//!
//! `core::sync::atomic` has no read-modify-write operations for the BPF target, so the kernel side uses the
//! compiler's intrinsics, which become `lock` instructions of the BPF instruction set (kernel 5.12 and
//! later). User space uses the standard atomics. Both are sequentially consistent where they modify; loads
//! and stores are single instructions. This file must not grow policy: a word knows nothing of its meaning.

#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

macro_rules! word {
    ($name:ident, $int:ty, $atomic:ident, $doc:literal) => {
        #[doc = $doc]
        #[repr(transparent)]
        #[derive(Default)]
        pub struct $name(
            #[cfg(not(target_arch = "bpf"))] $atomic,
            #[cfg(target_arch = "bpf")] core::cell::UnsafeCell<$int>,
        );

        #[cfg(not(target_arch = "bpf"))]
        impl $name {
            /// A word with this value.
            pub const fn new(value: $int) -> Self {
                Self($atomic::new(value))
            }

            /// The present value.
            #[inline(always)]
            pub fn load(&self) -> $int {
                self.0.load(SeqCst)
            }

            /// Overwrites the value; only for words of which one writer is enough.
            #[inline(always)]
            pub fn store(&self, value: $int) {
                self.0.store(value, SeqCst)
            }

            /// Writes `new` if the value is `old`; says whether it did.
            #[inline(always)]
            pub fn replace(&self, old: $int, new: $int) -> bool {
                self.0.compare_exchange(old, new, SeqCst, SeqCst).is_ok()
            }

            /// Adds, wrapping.
            #[inline(always)]
            pub fn add(&self, value: $int) {
                self.0.fetch_add(value, SeqCst);
            }

            /// Sets bits, whatever the others become meanwhile.
            #[inline(always)]
            pub fn set_bits(&self, bits: $int) {
                self.0.fetch_or(bits, SeqCst);
            }

            /// Clears bits, whatever the others become meanwhile.
            #[inline(always)]
            pub fn clear_bits(&self, bits: $int) {
                self.0.fetch_and(!bits, SeqCst);
            }
        }

        #[cfg(target_arch = "bpf")]
        impl $name {
            /// The present value.
            #[inline(always)]
            pub fn load(&self) -> $int {
                // SAFETY: the reference is valid and aligned; concurrent writers write whole words.
                unsafe { core::ptr::read_volatile(self.0.get()) }
            }

            /// Overwrites the value; only for words of which one writer is enough.
            #[inline(always)]
            pub fn store(&self, value: $int) {
                // SAFETY: as for `load`.
                unsafe { core::ptr::write_volatile(self.0.get(), value) }
            }

            /// Writes `new` if the value is `old`; says whether it did.
            #[inline(always)]
            pub fn replace(&self, old: $int, new: $int) -> bool {
                use core::intrinsics::{AtomicOrdering::SeqCst, atomic_cxchg};
                // SAFETY: as for `load`; `cmpxchg` is one instruction.
                unsafe { atomic_cxchg::<$int, { SeqCst }, { SeqCst }>(self.0.get(), old, new).1 }
            }

            /// Adds, wrapping.
            #[inline(always)]
            pub fn add(&self, value: $int) {
                use core::intrinsics::{AtomicOrdering::SeqCst, atomic_xadd};
                // SAFETY: as for `load`; `lock +=` is one instruction.
                unsafe { atomic_xadd::<$int, $int, { SeqCst }>(self.0.get(), value) };
            }

            /// Sets bits, whatever the others become meanwhile.
            #[inline(always)]
            pub fn set_bits(&self, bits: $int) {
                use core::intrinsics::{AtomicOrdering::SeqCst, atomic_or};
                // SAFETY: as for `load`; `lock |=` is one instruction.
                unsafe { atomic_or::<$int, $int, { SeqCst }>(self.0.get(), bits) };
            }

            /// Clears bits, whatever the others become meanwhile.
            #[inline(always)]
            pub fn clear_bits(&self, bits: $int) {
                use core::intrinsics::{AtomicOrdering::SeqCst, atomic_and};
                // SAFETY: as for `load`; `lock &=` is one instruction.
                unsafe { atomic_and::<$int, $int, { SeqCst }>(self.0.get(), !bits) };
            }
        }

        // SAFETY: every access goes through single-word atomic operations.
        #[cfg(target_arch = "bpf")]
        unsafe impl Sync for $name {}
    };
}

impl Word64 {
    /// Overwrites the lower half and leaves the upper one to others; only where one writer's value is as good as
    /// another's. In the kernel one plain store, which no later memory access waits for; a compare-and-swap would
    /// wait until the word's cache line is there, and so would every packet behind it.
    #[inline(always)]
    pub fn store_low(&self, value: u32) {
        #[cfg(target_arch = "bpf")]
        // SAFETY: as for `store`; the target is little-endian, so the lower half comes first, and it is aligned.
        unsafe {
            core::ptr::write_volatile(self.0.get().cast::<u32>(), value);
        }
        #[cfg(not(target_arch = "bpf"))]
        loop {
            let old = self.load();
            if self.replace(old, old & !u64::from(u32::MAX) | u64::from(value)) {
                return;
            }
        }
    }
}

word!(Word32, u32, AtomicU32, "A 32-bit word that several CPUs and user space change.");
word!(Word64, u64, AtomicU64, "A 64-bit word that several CPUs and user space change.");

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_lower_half_is_written_without_losing_what_another_writes_above() {
        let word = Word64::default();
        thread::scope(|scope| {
            scope.spawn(|| (1..=1000).for_each(|low| word.store_low(low)));
            scope.spawn(|| (0..1000).for_each(|_| word.add(1 << 32)));
        });
        assert_eq!(word.load(), 1000 << 32 | 1000);
    }
}
