//! TIFF and BigTIFF, pages along z.
