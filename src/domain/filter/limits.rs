//! How large a filter may be.

/// Bounds of one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting.
    pub depth_max: usize,
    /// Most nodes.
    pub nodes_max: usize,
    /// Most bytes of its JSON form.
    pub bytes_max: usize,
    /// Longest regular expression, in bytes of its text.
    pub regex_bytes_max: usize,
    /// Largest compiled form of all its regular expressions together.
    pub regex_compiled_max: usize,
    /// Most steps of a path.
    pub path_depth_max: usize,
}

impl Limits {
    /// What no operator can exceed; what was stored is read back within these. Data is at most 128
    /// levels deep, so a longer path leads nowhere.
    pub const HARD: Self = Self {
        depth_max: 32,
        nodes_max: 1_024,
        bytes_max: 256 << 10,
        regex_bytes_max: 4_096,
        regex_compiled_max: 4 << 20,
        path_depth_max: 128,
    };
}
