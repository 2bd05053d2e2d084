//! Models: tokenizer, embeddings and grammars.
use std::ffi::CString;
use std::mem::size_of;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null;
use std::sync::Arc;

use crate::error::{checked, list, Error, Result};
use crate::ffi::{self, Handle};

struct Loaded(Handle);
// SAFETY: a gemma_model is immutable, and any number of threads may use it
unsafe impl Send for Loaded {}
unsafe impl Sync for Loaded {}
impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: this is the last owner: every object created from the model holds one
        unsafe { ffi::gemma_model_free(self.0) }
    }
}

/// A model file mapped into memory. Clones refer to the same model; any number of threads may use it.
#[derive(Clone)]
pub struct Model(Arc<Loaded>);
impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Model").field(&self.info()).finish()
    }
}

/// Sizes of a model.
#[derive(Clone, Copy, Debug)]
pub struct ModelInfo {
    /// Number of tokens: ids are `0..vocab_size`, and there are as many logits.
    pub vocab_size: usize,
    /// Number of elements of a hidden state.
    pub d_model: usize,
    /// Number of decoder layers.
    pub n_layers: usize,
    /// Context that the model was trained with, in tokens.
    pub max_seq_len: usize,
    /// Size of the mapped file in bytes.
    pub file_bytes: usize,
    /// The token that begins a text.
    pub bos: Option<i32>,
    /// The token that ends a text.
    pub eos: Option<i32>,
    /// Number of elements of an embedding.
    pub embedding_width: usize,
}

impl Model {
    /// Maps and checks a GGUF file.
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        let path = CString::new(path.as_ref().as_os_str().as_bytes())
            .map_err(|_| Error::argument("a path with a NUL in it"))?;
        // SAFETY: the path ends with a NUL; NULL options are defaults
        let handle =
            checked(|error| unsafe { ffi::gemma_model_load(path.as_ptr(), null(), error) })?;
        Ok(Model(Arc::new(Loaded(handle))))
    }

    pub(crate) fn handle(&self) -> Handle {
        self.0 .0
    }

    /// The sizes of the model.
    pub fn info(&self) -> ModelInfo {
        let mut c = ffi::ModelInfo {
            size: size_of::<ffi::ModelInfo>(),
            vocab_size: 0,
            d_model: 0,
            n_layers: 0,
            max_seq_len: 0,
            file_bytes: 0,
            bos: -1,
            eos: -1,
            embedding_width: 0,
            has_head: 1,
        };
        // SAFETY: the structure is that of C, with its size set. The call fails for NULL only
        let _ = checked(|error| unsafe { ffi::gemma_model_get_info(self.handle(), &mut c, error) });
        let id = |id: i32| if id < 0 { None } else { Some(id) };
        ModelInfo {
            vocab_size: c.vocab_size,
            d_model: c.d_model,
            n_layers: c.n_layers,
            max_seq_len: c.max_seq_len,
            file_bytes: c.file_bytes,
            bos: id(c.bos),
            eos: id(c.eos),
            embedding_width: c.embedding_width,
        }
    }

    /// The token ids of a text. `bos`: begin with the BOS token if the model requires one.
    pub fn encode(&self, text: &str, bos: bool) -> Result<Vec<i32>> {
        // SAFETY: C reads text.len() bytes and writes at most `capacity` ids
        list(text.len() + 4, |out, capacity, n, error| unsafe {
            ffi::gemma_encode(
                self.handle(),
                text.as_ptr().cast(),
                text.len(),
                bos as i32,
                out,
                capacity,
                n,
                error,
            )
        })
    }

    /// The bytes of ids; they may end within a character. Control tokens are skipped.
    pub fn decode_bytes(&self, ids: &[i32]) -> Result<Vec<u8>> {
        // SAFETY: C reads ids.len() ids and writes at most `capacity` bytes
        list(16 * ids.len(), |out: *mut u8, capacity, n, error| unsafe {
            ffi::gemma_decode(
                self.handle(),
                ids.as_ptr(),
                ids.len(),
                out.cast(),
                capacity,
                n,
                error,
            )
        })
    }

    /// The text of ids; incomplete characters become U+FFFD.
    pub fn decode(&self, ids: &[i32]) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.decode_bytes(ids)?).into_owned())
    }

    /// One vector of length 1 for each text, of `embedding_width` elements.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let given: Vec<ffi::Text> = texts
            .iter()
            .map(|t| ffi::Text {
                text: t.as_ptr().cast(),
                length: t.len(),
            })
            .collect();
        let width = self.info().embedding_width;
        // SAFETY: the texts live until the call returns; NULL options are defaults
        let all = list(
            width * texts.len(),
            |out: *mut f32, capacity, n, error| unsafe {
                ffi::gemma_embed(
                    self.handle(),
                    given.as_ptr(),
                    given.len(),
                    null(),
                    out,
                    capacity,
                    n,
                    error,
                )
            },
        )?;
        Ok(all.chunks(width.max(1)).map(<[f32]>::to_vec).collect())
    }
}

/// A set of texts to which answers can be constrained. Immutable; threads may share it.
pub struct Grammar(pub(crate) Handle);
// SAFETY: a gemma_grammar is immutable, and any number of threads may use it
unsafe impl Send for Grammar {}
unsafe impl Sync for Grammar {}

impl Grammar {
    fn make(model: &Model, kind: i32, text: &str) -> Result<Grammar> {
        // SAFETY: C reads text.len() bytes; a grammar may outlive its model
        let made = checked(|error| unsafe {
            ffi::gemma_grammar_new(
                model.handle(),
                kind,
                text.as_ptr().cast(),
                text.len(),
                error,
            )
        })?;
        Ok(Grammar(made))
    }
    /// A grammar in llama.cpp's notation (GBNF), whose start rule is "root".
    pub fn gbnf(model: &Model, text: &str) -> Result<Grammar> {
        Grammar::make(model, 0, text)
    }
    /// The JSON values that a JSON schema accepts.
    pub fn json_schema(model: &Model, schema: &str) -> Result<Grammar> {
        Grammar::make(model, 1, schema)
    }
    /// Whether the grammar accepts a text.
    pub fn matches(&self, text: &str) -> Result<bool> {
        // SAFETY: C reads text.len() bytes
        checked(|error| unsafe {
            ffi::gemma_grammar_matches(self.0, text.as_ptr().cast(), text.len(), error)
        })
        .map(|found| found == 1)
    }
}

impl Drop for Grammar {
    fn drop(&mut self) {
        // SAFETY: this is the only owner; running generations hold the parts that they need
        unsafe { ffi::gemma_grammar_free(self.0) }
    }
}
