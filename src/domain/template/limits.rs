//! How large templates and what they make may be. Numbers only. Headers have the limits of a
//! sink's, paths those of a filter's.

/// Most steps.
pub const STEPS_MAX: usize = 10;

/// Longest template, as compact JSON, both as it was written and as it is printed.
pub const SOURCE_BYTES_MAX: usize = 64 * 1024;

/// Most expressions of a template.
pub const EXPRESSIONS_MAX: usize = 256;

/// Longest path of an expression. How many steps it may have is the rule of a filter's paths.
pub const PATH_BYTES_MAX: usize = 1_024;

/// Most steps of a path.
pub const PATH_DEPTH_MAX: usize = 32;

/// Most filters of an expression.
pub const FILTERS_MAX: usize = 8;

/// Most members of `query`.
pub const QUERY_MAX: usize = 32;

/// Deepest nesting of lists and objects in a body.
pub const BODY_DEPTH_MAX: usize = 32;

/// Longest format of the filter `date`.
pub const FORMAT_BYTES_MAX: usize = 64;

/// Longest name of a key of the filter `hmac`.
pub const KEY_NAME_BYTES_MAX: usize = 64;

/// What a step may make, URL, headers and body together, if nobody says otherwise.
pub const OUTPUT_BYTES_DEFAULT: usize = 1024 * 1024;
