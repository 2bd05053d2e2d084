// A dialect: the facts by which one family of instruction-tuned models differs from another in its
// vocabulary's conventions and in how it writes a conversation.
// Invariant: facts only. Code that uses them reads fields and never asks which dialect it has; every string
// lives as long as the program.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace gemma {

/// Sampling parameters that are used if neither the user nor the file sets them.
struct SamplingDefaults {
  float temperature = 0.7F;     // 0: always the likeliest token
  std::uint32_t top_k = 64;     // 0: all tokens
  float top_p = 0.95F;          // 1: all tokens
  float min_p = 0.0F;           // 0: all tokens
  float repeat_penalty = 1.0F;  // 1: none
};

/// Conventions of a vocabulary, used if the file has no value or is known to be wrong.
struct Markers {
  /// A vocabulary that has all of these pieces follows these conventions; empty: pieces do not decide.
  std::span<const std::string_view> recognised_by = {};
  /// A vocabulary of a file whose general.architecture begins with this follows them as well; "": the
  /// architecture does not decide.
  std::string_view architecture = {};
  /// Whether these are conventions of byte-level BPE vocabularies only; otherwise of all others only.
  bool byte_level = false;
  /// Spelling of BOS, for files that give no id; "": there is none.
  std::string_view bos = {};
  std::string_view eos = {};  // likewise of EOS, which ends a text
  std::string_view eot = {};  // likewise of EOT, which ends a turn
  /// Pieces that act as control tokens, whatever type the file gives them.
  std::span<const std::string_view> control = {};
  /// The control pieces that end an answer, in addition to the ids that the file names.
  std::span<const std::string_view> stops = {};
  /// Pieces that are user-defined even if the file types them as normal (see meta_pieces).
  std::span<const std::string_view> user_defined = {};
  /// Whether a prompt begins with BOS if the file has no value for it.
  bool add_bos = false;
  /// Whether a prompt begins with BOS even if the file says otherwise.
  bool always_bos = false;
  /// Whether a space is added before the text if the file has no value for it. SentencePiece only.
  bool space_prefix = false;
  /// Whether the pieces before the byte pieces, and the runs of newlines and tabs, are user-defined: files
  /// that lost these types get them back, and in files without types they do not become control tokens.
  bool meta_pieces = false;
  /// Prefix of further control pieces of such files, e.g. "<unused".
  std::string_view reserved_prefix = {};
  /// Common suffix of the markers, e.g. ">".
  std::string_view reserved_suffix = {};
  /// Pre-tokenizer of byte-level BPE if the file names none or "default"; "": such a file is an error.
  std::string_view pre = {};
};

namespace dialects {
/// The conventions of byte-level BPE vocabularies of unknown dialects: none.
inline constexpr Markers kNoMarkers = {};
}  // namespace dialects

/// The text around a message. "{bos}" and "{eos}" stand for the spelling of the vocabulary's tokens.
struct Turn {
  std::string_view open = {};   // before the text
  std::string_view close = {};  // after it
  bool trim = false;            // white space at both ends of the text is removed
};

/// Where the text of a leading system message goes.
enum class SystemPlace : std::uint8_t {
  kRefused,    // nowhere: the template raises an error
  kTurn,       // in a separate turn
  kFirstUser,  // before the text of the first user turn
  kLastUser,   // before the text of the last message, if that is the user's
};

/// The markers of thoughts and tools, in dialects that have them.
struct AgentTurns {
  std::string_view open = {};            // before a turn's role, which a newline follows
  std::string_view close = {};           // after a turn
  std::string_view think = {};           // at the start of the system turn if thinking is requested
  std::string_view thought_begin = {};   // before a thought, within an answer
  std::string_view thought_head = {};    // between thought_begin and the thought
  std::string_view thought_end = {};     // after a thought
  std::string_view no_thought = {};      // after the generation prompt if thinking is not requested
  std::string_view tool_open = {};       // before the declaration of a tool
  std::string_view tool_close = {};      // after the declaration
  std::string_view call_open = {};       // before a call
  std::string_view call_close = {};      // after a call
  std::string_view response_open = {};   // before a tool's answer
  std::string_view response_close = {};  // after a tool's answer
  std::string_view quote = {};           // at both ends of a text within declarations and calls
  /// Whether this is the dialect's first published form: every message, also of a tool, is a separate turn,
  /// an answer never continues the turn before it, and the parts of a declaration have a different order.
  bool first_form = false;
};

/// The form of a conversation in a dialect.
struct Turns {
  std::string_view begin = "{bos}";               // before the first turn
  Turn user = {};                                 // around a message of the user
  Turn assistant = {};                            // around an answer of the model
  Turn system = {};                               // around the system text, wherever it is placed
  std::string_view generation = {};               // the marker that begins an answer
  bool always_generation = false;                 // written even if the caller does not request it
  SystemPlace system_place = SystemPlace::kTurn;  // place of a leading system message
  /// Text at the start of the first system turn, which is then written in every conversation; "": none.
  std::string_view system_head = {};
  /// System text of a conversation without one, in a separate turn; "": none.
  std::string_view system_default = {};
  /// Whether the system text and the message that contains it are trimmed together.
  bool trim_joined = false;
  /// Message of the error for roles that do not alternate; "": any order is allowed.
  std::string_view order_refusal = {};
  /// Message of the error for a system message that is refused; "": as for a wrong order.
  std::string_view system_refusal = {};
  /// Thoughts and tools; nullptr: none. With them, roles may come in any order and these facts write the
  /// turns.
  const AgentTurns* agent = nullptr;
};

/// A dialect: its vocabulary's conventions, its turns, its defaults, and how it is recognised.
struct Dialect {
  std::string_view name;             // unique; the value of --chat-template
  const Markers* markers = nullptr;  // of its vocabulary; shared by variants
  Turns turns = {};                  // of its conversations
  SamplingDefaults sampling = {};    // if the file has no values
  /// Fingerprints (template_form.hpp) of the published templates that these turns render exactly.
  std::span<const std::uint64_t> templates = {};
  /// A template of unknown form that contains all of these and none of no_signs is treated as a template of
  /// this dialect.
  std::span<const std::string_view> signs = {};
  /// Substrings that must be absent; see signs.
  std::span<const std::string_view> no_signs = {};
  /// Whether vocabularies with these markers use these turns if the file has no template.
  bool without_template = false;
  /// Beginnings of general.name, in lower case with dashes, of published files that lack a template and whose
  /// vocabulary does not decide.
  std::span<const std::string_view> file_names = {};
  /// The dialect of its models with per-layer embeddings; nullptr: this one.
  const Dialect* for_per_layer_embeddings = nullptr;
};

}  // namespace gemma
