//! What a page and the program say to each other over the WebSocket.
//!
//! Pages send JSON in text messages ([`Ask`]). The program sends JSON in text messages ([`Tell`]) and
//! pictures in binary ones ([`Frame`]): a head of 16 bytes and the bytes of a JPEG or PNG file.

use std::collections::BTreeMap;

use hgv::render::{Mode, TransferFunction};
use hgv::{Error, Result};
use serde::{Deserialize, Serialize};

/// Most bytes of a message of a page: a transfer function of very many points.
pub(crate) const MAX_MESSAGE: usize = 1 << 20;
/// Most pixels of a side of a picture.
const MAX_SIDE: u32 = 4096;
/// Farthest that anything may be, in units of the camera.
const FAR: f32 = 1e9;

/// What a page asks for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// Another place of the camera, or size of the picture.
    Camera(CameraState),
    /// Another look.
    Look(Box<Look>),
    /// A frame is shown: another may be sent.
    Shown { frame: u32 },
    /// The picture of now as a PNG file, whatever it takes.
    Save,
    /// Ask again for what could not be had.
    Retry,
}

/// A camera that looks at a place from a distance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CameraState {
    /// Where it looks: x, y, z in units of the camera (the least distance of voxels is 1).
    pub(crate) target: [f32; 3],
    /// Degrees around the z axis; 0 looks along y.
    pub(crate) azimuth: f32,
    /// Degrees over the x-y plane, -90..=90.
    pub(crate) elevation: f32,
    /// Distance from the target in units of the camera, over 0.
    pub(crate) distance: f32,
    /// Whether depth leaves sizes as they are.
    pub(crate) orthographic: bool,
    /// Width and height of the whole picture in pixels, 1..=4096.
    pub(crate) size: [u32; 2],
}

/// How the volume looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    pub(crate) transfer: TransferFunction,
    pub(crate) mode: Mode,
    pub(crate) lighting: Lighting,
    /// Lower and upper corner of the box that is shown, in voxels.
    pub(crate) clip: [[f32; 3]; 2],
    /// Red, green, blue, 0..=1, as in sRGB pictures.
    pub(crate) background: [f32; 3],
    /// Finest level of detail that is shown.
    pub(crate) lod: u32,
    /// Highest quality level that is shown.
    pub(crate) level: u32,
}

/// Light, and how what is seen answers it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Lighting {
    /// Degrees to the right of the camera that light comes from, -180..=180.
    pub(crate) azimuth: f32,
    /// Degrees over the camera, -90..=90.
    pub(crate) elevation: f32,
    /// Part of the colour that is seen without light, 0..=1.
    pub(crate) ambient: f32,
    /// Part of light that is scattered, 0..=2.
    pub(crate) diffuse: f32,
    /// Part of light that is mirrored, 0..=2.
    pub(crate) specular: f32,
}

impl Default for Lighting {
    /// From over the left shoulder.
    fn default() -> Self {
        Self {
            azimuth: -27.0,
            elevation: 32.0,
            ambient: 0.25,
            diffuse: 0.75,
            specular: 0.2,
        }
    }
}

/// What the program says in words.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Tell<'a> {
    /// The first message.
    Hello(&'a Hello),
    /// Where things stand.
    Stats(&'a Stats),
    /// What went wrong with what the page asked for.
    Error { message: String },
}

impl Tell<'_> {
    pub(crate) fn to_json(&self) -> String {
        // Made of numbers and texts only: nothing in it can fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a page must know of the volume.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Hello {
    pub(crate) name: String,
    /// Voxels along x, y, z.
    pub(crate) extent: [u64; 3],
    /// Distances of voxels, the least one 1.
    pub(crate) spacing: [f32; 3],
    pub(crate) lods: u32,
    pub(crate) levels: u32,
    /// Smallest and largest value.
    pub(crate) range: [f32; 2],
    /// How many of the values that were looked at lie in each of equal parts of the range.
    pub(crate) histogram: Vec<u32>,
    /// Vertical field of view in radians.
    pub(crate) field: f32,
    /// How it looks at first.
    pub(crate) look: Look,
    /// Transfer functions by name; `automatic` is the one that suits the values.
    pub(crate) presets: BTreeMap<String, TransferFunction>,
    /// What draws.
    pub(crate) backend: String,
}

/// Where things stand.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Stats {
    /// Bytes that the source gave.
    pub(crate) fetched: u64,
    /// Requests that it took.
    pub(crate) requests: u64,
    /// Decoded blocks.
    pub(crate) bricks: usize,
    /// Blocks that the last picture was drawn from.
    pub(crate) shown: usize,
    /// Layers and pages that are wanted and not there.
    pub(crate) missing: usize,
    /// Whether all is there that the view can show.
    pub(crate) settled: bool,
    /// Root of the mean squared error of the values that are shown, as the file says.
    pub(crate) error: f32,
    /// What went wrong last with reading.
    pub(crate) fault: Option<String>,
    /// Milliseconds that the last picture took, and its pixels.
    pub(crate) milliseconds: f32,
    pub(crate) size: [u32; 2],
}

/// What a binary message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// A picture while something moves: JPEG of fewer pixels.
    Moving = 1,
    /// A picture that stands still, with all pixels: JPEG.
    Still = 2,
    /// A picture to keep: PNG.
    Saved = 3,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    /// Counts frames from 1; to be named in [`Ask::Shown`].
    pub(crate) number: u32,
    /// Width and height in pixels.
    pub(crate) size: [u32; 2],
    /// The file.
    pub(crate) file: Vec<u8>,
}

impl Frame {
    /// Kind, number, width, height as little-endian u32, then the file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let head = [self.kind as u32, self.number, self.size[0], self.size[1]];
        let head = head.iter().flat_map(|n| n.to_le_bytes());
        head.chain(self.file.iter().copied()).collect()
    }
}

impl Ask {
    /// Reads a message of a page.
    ///
    /// # Errors
    /// [`Error::Input`] that says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let ask: Self = serde_json::from_str(text)
            .map_err(|e| Error::Input(format!("a message that is not understood: {e}")))?;
        match &ask {
            Self::Camera(camera) => camera.check()?,
            Self::Look(look) => look.check()?,
            Self::Shown { .. } | Self::Save | Self::Retry => {}
        }
        Ok(ask)
    }
}

/// Refuses a number outside of a range, also one that is no number.
fn within(what: &str, value: f32, least: f32, most: f32) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::Input(format!(
        "{what} is {value}; it must be within {least} to {most}"
    )))
}

impl CameraState {
    fn check(&self) -> Result<()> {
        for value in self.target {
            within("the target", value, -FAR, FAR)?;
        }
        within("the azimuth", self.azimuth, -FAR, FAR)?;
        within("the elevation", self.elevation, -90.0, 90.0)?;
        within("the distance", self.distance, 1e-3, FAR)?;
        for side in self.size {
            if !(1..=MAX_SIDE).contains(&side) {
                return Err(Error::Input(format!(
                    "a picture of {} x {} pixels; 1 to {MAX_SIDE} each can be drawn",
                    self.size[0], self.size[1]
                )));
            }
        }
        Ok(())
    }
}

impl Look {
    fn check(&self) -> Result<()> {
        if let Mode::Surface(value) = self.mode {
            within("the value of the surface", value, f32::MIN, f32::MAX)?;
        }
        let [lo, hi] = self.clip;
        for a in 0..3 {
            within("a corner of the box", lo[a], -FAR, FAR)?;
            within("a corner of the box", hi[a], lo[a], FAR)?;
        }
        for channel in self.background {
            within("the background", channel, 0.0, 1.0)?;
        }
        let light = &self.lighting;
        within("the azimuth of light", light.azimuth, -180.0, 180.0)?;
        within("the elevation of light", light.elevation, -90.0, 90.0)?;
        within("ambient light", light.ambient, 0.0, 1.0)?;
        within("diffuse light", light.diffuse, 0.0, 2.0)?;
        within("specular light", light.specular, 0.0, 2.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CAMERA: &str = r#"{"type":"camera","target":[1,2,3],"azimuth":30,"elevation":20,
        "distance":100,"orthographic":false,"size":[640,480]}"#;
    const LOOK: &str = r#"{"type":"look","transfer":{"opacity":[{"value":0,"opacity":1}],
        "colour":[{"value":0,"rgb":[1,1,1]}]},"mode":{"surface":5},"lighting":{"ambient":0.5},
        "clip":[[0,0,0],[9,9,9]],"background":[0,0,0],"lod":0,"level":1}"#;

    #[test]
    fn messages_are_read() {
        let camera = Ask::parse(CAMERA).unwrap();
        assert!(matches!(camera, Ask::Camera(c) if c.size == [640, 480] && c.azimuth == 30.0));
        let Ask::Look(look) = Ask::parse(LOOK).unwrap() else {
            unreachable!("a look")
        };
        assert_eq!(look.mode, Mode::Surface(5.0));
        // What is not said stays as it is by default.
        assert_eq!(look.lighting.ambient, 0.5);
        assert_eq!(look.lighting.diffuse, Lighting::default().diffuse);
        let shown = Ask::parse(r#"{"type":"shown","frame":7}"#);
        assert_eq!(shown.unwrap(), Ask::Shown { frame: 7 });
    }

    #[test]
    fn malformed_messages_say_what_is_wrong() {
        for (text, part) in [
            ("", "not understood"),
            ("[]", "not understood"),
            (r#"{"type":"boom"}"#, "boom"),
            (r#"{"type":"camera"}"#, "missing field"),
            (&CAMERA.replace("100", "0"), "distance"),
            (&CAMERA.replace("100", "1e99"), "distance"),
            (&CAMERA.replace("20,", "91,"), "elevation"),
            (&CAMERA.replace("640", "0"), "0 x 480 pixels"),
            (&CAMERA.replace("640", "5000"), "5000 x 480 pixels"),
            (&CAMERA.replace("640", "-1"), "not understood"),
            (&LOOK.replace("[9,9,9]", "[9,-1,9]"), "corner"),
            (&LOOK.replace("0.5", "7"), "ambient"),
            (&LOOK.replace("ambient", "ambience"), "ambience"),
            (&LOOK.replace(r#""opacity":1"#, r#""opacity":2"#), "0..=1"),
            (
                &LOOK.replace(r#"[{"value":0,"rgb":[1,1,1]}]"#, "[]"),
                "0 points",
            ),
        ] {
            let error = Ask::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn frames_begin_with_their_head() {
        let frame = Frame {
            kind: FrameKind::Still,
            number: 258,
            size: [640, 3],
            file: vec![9, 8],
        };
        let head = [2, 0, 0, 0, 2, 1, 0, 0, 128, 2, 0, 0, 3, 0, 0, 0];
        assert_eq!(frame.to_bytes(), [&head[..], &[9, 8]].concat());
    }
}
