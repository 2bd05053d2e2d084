//! Errors, and calls that can fail.
use std::ffi::{CStr, CString};
use std::fmt;
use std::ptr::null_mut;

use crate::ffi::{self, Handle};

/// An error of the library: one line of text, and its code (`gemma_error_code` of `gemma/c_api.h`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// For example 1: a file cannot be read; 11: an argument is out of range; 14: cancelled.
    pub code: i32,
    /// One line that names the file, key or tensor.
    pub message: String,
}

impl Error {
    pub(crate) fn argument(message: &str) -> Error {
        Error {
            code: 11,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Calls a C function, which stores an error at the given address, and returns its value or that error.
pub(crate) fn checked<T>(call: impl FnOnce(*mut Handle) -> T) -> Result<T> {
    let mut error: Handle = null_mut();
    let value = call(&mut error);
    if error.is_null() {
        return Ok(value);
    }
    // SAFETY: the call created the error, and this function owns it
    unsafe {
        let message = CStr::from_ptr(ffi::gemma_error_get_message(error))
            .to_string_lossy()
            .into_owned();
        let code = ffi::gemma_error_get_code(error);
        ffi::gemma_error_free(error);
        Err(Error { code, message })
    }
}

/// A NUL-terminated copy of a text. Fails if the text contains a NUL.
pub(crate) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::argument("a text with a NUL in it"))
}

/// Calls `fill(out, capacity, n, error)`, which sets `n` to the full length of the list, and calls it again if
/// `guess` elements were too few.
pub(crate) fn list<T: Copy + Default>(
    guess: usize,
    mut fill: impl FnMut(*mut T, usize, *mut usize, *mut Handle) -> i32,
) -> Result<Vec<T>> {
    let mut out = vec![T::default(); guess];
    loop {
        let mut n = 0;
        checked(|error| fill(out.as_mut_ptr(), out.len(), &mut n, error))?;
        let fits = n <= out.len();
        out.resize(n, T::default());
        if fits {
            return Ok(out);
        }
    }
}
