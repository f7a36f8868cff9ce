//! Small vectors.

/// Sum of the products of the components.
#[inline(always)]
pub(super) fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// `a + s * b`.
#[inline(always)]
pub(super) fn along(a: [f32; 3], s: f32, b: [f32; 3]) -> [f32; 3] {
    [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]]
}

/// A vector of length 1 in the direction of `v`; zero if it has none.
#[inline(always)]
pub(super) fn unit(v: [f32; 3]) -> [f32; 3] {
    let length = dot(v, v).sqrt();
    if length > 1e-20 && length.is_finite() {
        v.map(|c| c / length)
    } else {
        [0.0; 3]
    }
}
