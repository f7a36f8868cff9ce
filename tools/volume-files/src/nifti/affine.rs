//! Orientation in NIfTI: the affine matrix (sform), the quaternion (qform), or neither.

use super::read::Raw;
use crate::affine::{norm, set_axis};
use hgv::volume::{Metadata, Space};

/// Takes the sform if it is set, else the qform, else the spacing alone.
pub(super) fn read(raw: &Raw, metadata: &mut Metadata, notices: &mut Vec<String>) {
    for axis in 0..3 {
        let spacing = raw.pixdim(axis + 1).abs();
        if spacing.is_finite() && spacing > 0.0 {
            metadata.spacing[axis] = spacing;
        }
    }
    let matrix = if raw.sform_code() > 0 {
        Some(sform(raw))
    } else if raw.qform_code() > 0 {
        Some(qform(raw, metadata.spacing))
    } else {
        None
    };
    let Some((columns, origin)) = matrix else {
        return;
    };
    if !usable(&columns, &origin) {
        notices.push("the NIfTI orientation is no transform; only the spacing is kept".to_owned());
        return;
    }
    apply(metadata, columns, origin);
}

fn usable(columns: &[[f64; 3]; 3], origin: &[f64; 3]) -> bool {
    let length = |c: &[f64; 3]| norm(*c);
    columns
        .iter()
        .all(|c| length(c).is_finite() && length(c) > 0.0)
        && origin.iter().all(|o| o.is_finite())
}

fn apply(metadata: &mut Metadata, columns: [[f64; 3]; 3], origin: [f64; 3]) {
    for (axis, column) in columns.into_iter().enumerate() {
        let stated = metadata.spacing[axis];
        set_axis(metadata, axis, column);
        // The length of a rotated column carries rounding errors that pixdim does not.
        if (metadata.spacing[axis] / stated - 1.0).abs() < 1e-5 {
            metadata.spacing[axis] = stated;
        }
    }
    metadata.origin = origin;
    metadata.space = Space::Ras;
}

/// Columns and offset of the affine matrix.
fn sform(raw: &Raw) -> ([[f64; 3]; 3], [f64; 3]) {
    let row = |world: usize, column: usize| raw.srow(4 * world + column);
    let columns = [0, 1, 2].map(|c| [row(0, c), row(1, c), row(2, c)]);
    (columns, [row(0, 3), row(1, 3), row(2, 3)])
}

/// Columns and offset of the rotation by the unit quaternion (a, b, c, d), a >= 0.
fn qform(raw: &Raw, spacing: [f64; 3]) -> ([[f64; 3]; 3], [f64; 3]) {
    let [b, c, d] = [0, 1, 2].map(|i| raw.quatern(i));
    let a = (1.0 - (b * b + c * c + d * d)).max(0.0).sqrt();
    let sign = if raw.pixdim(0) < 0.0 { -1.0 } else { 1.0 };
    let unit = [
        [
            a * a + b * b - c * c - d * d,
            2.0 * (b * c + a * d),
            2.0 * (b * d - a * c),
        ],
        [
            2.0 * (b * c - a * d),
            a * a + c * c - b * b - d * d,
            2.0 * (c * d + a * b),
        ],
        [
            2.0 * (b * d + a * c),
            2.0 * (c * d - a * b),
            a * a + d * d - b * b - c * c,
        ],
    ];
    let scale = [spacing[0], spacing[1], spacing[2] * sign];
    let columns = [0, 1, 2].map(|i| unit[i].map(|v| v * scale[i]));
    (columns, [3, 4, 5].map(|i| raw.quatern(i)))
}

/// Quaternion b, c, d and the sign of the third axis for a rotation given by its columns.
/// `None` if the columns are not orthonormal.
pub(super) fn quaternion(columns: &[[f64; 3]; 3]) -> Option<([f64; 3], f64)> {
    let dot = |p: &[f64; 3], q: &[f64; 3]| p.iter().zip(q).map(|(a, b)| a * b).sum::<f64>();
    for i in 0..3 {
        for j in 0..3 {
            let want = f64::from(u8::from(i == j));
            if (dot(&columns[i], &columns[j]) - want).abs() > 1e-5 {
                return None;
            }
        }
    }
    let [x, y, mut z] = *columns;
    let cross = [
        x[1] * y[2] - x[2] * y[1],
        x[2] * y[0] - x[0] * y[2],
        x[0] * y[1] - x[1] * y[0],
    ];
    let sign = if dot(&cross, &z) < 0.0 { -1.0 } else { 1.0 };
    z = z.map(|v| v * sign);
    Some((largest_first(x, y, z), sign))
}

/// Divides by the largest of the four components, so that nothing cancels.
fn largest_first(x: [f64; 3], y: [f64; 3], z: [f64; 3]) -> [f64; 3] {
    let (xx, yy, zz) = (x[0], y[1], z[2]);
    let squares = [
        1.0 + xx + yy + zz,
        1.0 + xx - yy - zz,
        1.0 - xx + yy - zz,
        1.0 - xx - yy + zz,
    ];
    let mut best = 0;
    for i in 1..4 {
        if squares[i] > squares[best] {
            best = i;
        }
    }
    let s = 0.5 / squares[best].max(f64::MIN_POSITIVE).sqrt();
    let big = 0.5 * squares[best].sqrt();
    let [a, b, c, d] = match best {
        0 => [big, (y[2] - z[1]) * s, (z[0] - x[2]) * s, (x[1] - y[0]) * s],
        1 => [(y[2] - z[1]) * s, big, (y[0] + x[1]) * s, (z[0] + x[2]) * s],
        2 => [(z[0] - x[2]) * s, (y[0] + x[1]) * s, big, (z[1] + y[2]) * s],
        _ => [(x[1] - y[0]) * s, (z[0] + x[2]) * s, (z[1] + y[2]) * s, big],
    };
    // The format stores b, c, d only and takes a >= 0.
    [b, c, d].map(|v| if a < 0.0 { -v } else { v })
}
