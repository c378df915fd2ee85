//! Values that the verifier shall not remember.
//!
//! The verifier walks every path with everything it knows about every value, and merges two paths only where
//! what it knows agrees. A number that differs between paths and stays alive, such as "which rule decided",
//! multiplies all that follows. [`forget`] passes a value through half a stack slot, of which the verifier
//! keeps no track: afterwards it is any number on every path, and the paths merge. It costs a store and a
//! load. In user space it does nothing.

/// The same value, about which the verifier knows nothing more.
#[inline(always)]
pub fn forget(value: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut slot = core::mem::MaybeUninit::<u64>::uninit();
        // Not zero: of a slot full of zeros the verifier does keep track.
        let shifted = u64::from(value) << 32 | 1;
        let upper: u64;
        // SAFETY: writes the slot, then reads its upper half (the target is little-endian).
        unsafe {
            core::arch::asm!(
                "*(u64 *)({slot} + 0) = {shifted}",
                "{upper} = *(u32 *)({slot} + 4)",
                slot = in(reg) slot.as_mut_ptr(),
                shifted = in(reg) shifted,
                upper = lateout(reg) upper,
            );
        }
        upper as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    value
}

/// The same address, of which the compiler does not know where it came from. Otherwise it may check one
/// copy of a pointer with a variable offset and read through another, which the verifier cannot follow.
#[inline(always)]
pub fn opaque(pointer: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let same: usize;
        // SAFETY: a move.
        unsafe { core::arch::asm!("{0} = {1}", out(reg) same, in(reg) pointer) };
        same
    }
    #[cfg(not(target_arch = "bpf"))]
    pointer
}
