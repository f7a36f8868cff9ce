//! One lane, plain Rust: the definition that every other register must equal.

use super::lanes::{Constant, Lanes, Working};

macro_rules! plain {
    ($name:ident, $t:ty, $wide:ty, $constant:ident, $bits:expr, $avx2:ident, $avx512:ident, $neon:ident) => {
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name($t);

        impl Working for $t {
            type Plain = $name;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = super::avx2::$avx2;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = super::avx512::$avx512;
            #[cfg(target_arch = "aarch64")]
            type Neon = super::neon::$neon;
        }

        // SAFETY: needs no special instructions.
        unsafe impl Lanes for $name {
            type E = $t;
            const N: usize = 1;
            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: the caller's contract.
                Self(unsafe { *p })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller's contract.
                unsafe { *p = self.0 }
            }
            #[inline(always)]
            unsafe fn splat(c: Constant) -> Self {
                Self(c.$constant)
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                Self(self.0.wrapping_add(o.0))
            }
            #[inline(always)]
            unsafe fn sub(self, o: Self) -> Self {
                Self(self.0.wrapping_sub(o.0))
            }
            #[inline(always)]
            unsafe fn mul(self, c: Self) -> Self {
                let product = <$wide>::from(self.0) * <$wide>::from(c.0);
                Self(((product + (1 << ($bits - 1))) >> $bits) as $t)
            }
            #[inline(always)]
            unsafe fn store_interleaved(p: *mut $t, even: Self, odd: Self) {
                // SAFETY: the caller's contract.
                unsafe {
                    *p = even.0;
                    *p.add(1) = odd.0;
                }
            }
        }
    };
}

plain!(Plain16, i16, i32, q15, 15, I16x16, I16x32, I16x8);
plain!(Plain32, i32, i64, q31, 31, I32x8, I32x16, I32x4);
