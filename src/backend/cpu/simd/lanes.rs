//! The narrow vector trait, and the constants of the transform in both precisions.

use crate::codec::Coefficient;

/// The body of a [`Lanes`] function.
macro_rules! vector {
    ($body:expr) => {
        // SAFETY: whoever calls a `Lanes` function vouches for its pointers and for the CPU.
        unsafe { $body }
    };
}
pub(crate) use vector;

/// A lifting constant in `[0, 1)`: rounded to 15 and to 31 fractional bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Constant {
    pub(crate) q15: i16,
    pub(crate) q31: i32,
}

/// Inverse update 2: `s -= UPDATE_2 (d + d)`.
pub(crate) const UPDATE_2: Constant = Constant {
    q15: 14_533,
    q31: 952_423_713,
};
/// Inverse predict 2: `d -= PREDICT_2 (s + s)`.
pub(crate) const PREDICT_2: Constant = Constant {
    q15: 28_931,
    q31: 1_896_037_097,
};
/// Inverse update 1: `s += UPDATE_1 (d + d)`.
pub(crate) const UPDATE_1: Constant = Constant {
    q15: 1_736,
    q31: 113_773_938,
};
/// Inverse predict 1 beyond one: `d += (s + s) + PREDICT_1 (s + s)`.
pub(crate) const PREDICT_1: Constant = Constant {
    q15: 19_206,
    q31: 1_258_713_915,
};
/// Low-pass gain to the power of 1, 2, 3 axes, beyond one: `x += GAIN[axes - 1] x`.
pub(crate) const GAIN: [Constant; 3] = [
    Constant {
        q15: 7_542,
        q31: 494_295_126,
    },
    Constant {
        q15: 16_821,
        q31: 1_102_364_191,
    },
    Constant {
        q15: 28_235,
        q31: 1_850_395_009,
    },
];

/// One over the low-pass gain to the power of 1, 2, 3 axes.
pub(crate) const SHRINK: [Constant; 3] = [
    Constant {
        q15: 26_637,
        q31: 1_745_674_567,
    },
    Constant {
        q15: 21_653,
        q31: 1_419_046_751,
    },
    Constant {
        q15: 17_602,
        q31: 1_153_533_265,
    },
];

/// Working values that the kernels come in.
pub(crate) trait Working: Coefficient {
    /// One value as a register of one lane.
    type Plain: Lanes<E = Self>;
    #[cfg(target_arch = "x86_64")]
    type Avx2: Lanes<E = Self>;
    #[cfg(target_arch = "x86_64")]
    type Avx512: Lanes<E = Self>;
    #[cfg(target_arch = "aarch64")]
    type Neon: Lanes<E = Self>;
}

/// A register of `N` working values. Arithmetic wraps; it is the encoder's duty to choose
/// fractional bits that never make it wrap.
///
/// # Safety
/// Implementations may be used only on CPUs that have the instructions.
pub(crate) unsafe trait Lanes: Copy {
    /// Type of one lane.
    type E: Working;
    /// Number of lanes.
    const N: usize;
    /// # Safety
    /// `p` is readable for `N` values.
    unsafe fn load(p: *const Self::E) -> Self;
    /// # Safety
    /// `p` is writable for `N` values.
    unsafe fn store(self, p: *mut Self::E);
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn splat(c: Constant) -> Self;
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn add(self, o: Self) -> Self;
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn sub(self, o: Self) -> Self;
    /// Product with a splatted constant, rounded to nearest, halves up.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn mul(self, c: Self) -> Self;
    /// Stores `even[0], odd[0], even[1], odd[1], ...`.
    ///
    /// # Safety
    /// `p` is writable for `2 N` values.
    unsafe fn store_interleaved(p: *mut Self::E, even: Self, odd: Self);
}
