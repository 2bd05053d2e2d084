// Converts a published tokenizer to GGUF metadata: SentencePiece's tokenizer.model, or tokenizer.json, which
// holds such a vocabulary or a byte-level BPE.
// Invariant: ids are the checkpoint's.
#include <algorithm>
#include <filesystem>
#include <optional>

#include "examples/convert/checkpoint.hpp"
#include "examples/convert/sentencepiece_model.hpp"
#include "examples/numbers.hpp"
#include "examples/read_file.hpp"
#include "gguf/error.hpp"

namespace gemma::convert {
namespace {

/// Adds the tokens of added_tokens.json and of tokenizer_config.json, which says which of them are markers.
void add_tokens(const std::string& folder, const Json& tokenizer, Pieces& pieces) {
  const std::string path = folder + "/added_tokens.json";
  if (std::filesystem::exists(path)) {
    const Json added = read_json(path);
    for (const auto& [text, id] : added.items())
      if (id.is_number_unsigned()) pieces.put(id.get<std::size_t>(), text, kUserDefined, -1000);
  }
  const auto decoder = tokenizer.find("added_tokens_decoder");
  if (decoder == tokenizer.end() || !decoder->is_object()) return;
  for (const auto& [id_text, entry] : decoder->items()) {
    const std::size_t id = app::parse_number<std::size_t>(id_text).value_or(SIZE_MAX);
    if (id >= pieces.texts.size() || !entry.is_object()) continue;
    const std::string text = entry.value("content", std::string());
    if (text.empty()) continue;
    if (entry.value("special", false)) {
      pieces.put(id, text, pieces.types[id] == kUnknown ? kUnknown : kControl, -1000);
    } else {
      pieces.put(id, without_escapes(text), kUserDefined, -1000);
    }
  }
}

/// The text of a token: the value itself, or the "content" of an object.
std::string token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object()) return value.value("content", std::string());
  return "";
}

/// Adds special ids and switches from the other files of the tokenizer.
void add_specials(const std::string& folder, const Json& config, const Json& tokenizer, const Pieces& pieces,
                  const SentencePieceModel* model, bool bos_always, gguf::Writer& writer) {
  const auto id_of = [&](const char* name, std::optional<std::int64_t> otherwise) {
    std::optional<std::int64_t> id;
    if (const auto token = tokenizer.find(std::string(name) + "_token"); token != tokenizer.end()) {
      const std::string text = token_text(*token);
      const auto it = std::find(pieces.texts.begin(), pieces.texts.end(), text);
      if (!text.empty() && it != pieces.texts.end()) id = it - pieces.texts.begin();
    }
    const auto in_config = config.find(std::string(name) + "_token_id");
    if (!id && in_config != config.end()) {
      const Json& value = in_config->is_array() && !in_config->empty() ? in_config->front() : *in_config;
      if (value.is_number_integer()) id = value.get<std::int64_t>();
    }
    if (!id) id = otherwise;
    if (id && (*id < 0 || static_cast<std::size_t>(*id) >= pieces.texts.size())) id.reset();
    return id;
  };
  const auto add_id = [&](const char* name, const char* key, std::optional<std::int64_t> otherwise) {
    if (const auto id = id_of(name, otherwise))
      writer.add(std::string("tokenizer.ggml.") + key, static_cast<std::uint32_t>(*id));
  };
  const auto from_model = [&](std::int64_t SentencePieceModel::*id) {
    return model != nullptr ? std::optional(model->*id) : std::nullopt;
  };
  add_id("bos", "bos_token_id", from_model(&SentencePieceModel::bos));
  add_id("eos", "eos_token_id", from_model(&SentencePieceModel::eos));
  add_id("unk", "unknown_token_id", from_model(&SentencePieceModel::unk));
  add_id("pad", "padding_token_id", from_model(&SentencePieceModel::pad));
  if (bos_always) writer.add("tokenizer.ggml.add_bos_token", true);
  for (const char* name : {"add_bos_token", "add_eos_token"})
    if (const auto it = tokenizer.find(name); it != tokenizer.end() && it->is_boolean() &&
                                              !(bos_always && name == std::string_view("add_bos_token")))
      writer.add(std::string("tokenizer.ggml.") + name, it->get<bool>());
  std::string chat;
  if (std::filesystem::exists(folder + "/chat_template.jinja")) {
    chat = app::read_file(folder + "/chat_template.jinja");
  } else if (const auto it = tokenizer.find("chat_template"); it != tokenizer.end()) {
    if (it->is_string()) chat = it->get<std::string>();
    if (it->is_array())  // several templates by name
      for (const Json& t : *it)
        if (t.is_object() && t.value("name", std::string()) == "default")
          chat = t.value("template", std::string());
  }
  if (!chat.empty()) writer.add("tokenizer.chat_template", chat);
}

void add_pieces(const Pieces& pieces, bool scores, gguf::Writer& writer) {
  writer.add_array("tokenizer.ggml.tokens", pieces.texts);
  if (scores) writer.add_array("tokenizer.ggml.scores", pieces.scores);
  writer.add_array("tokenizer.ggml.token_type", pieces.types);
}

/// A known pre-tokenizer: the expression by which it splits text before merging, and its name in GGUF.
struct Cut {
  std::string_view name, expression;
};
constexpr Cut kCuts[] = {
    {"llama-bpe",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
    {"qwen2",
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
};

std::string cut_of(const Json& json, const std::string& path) {
  std::string expression;
  const auto look = [&](const auto& self, const Json& part) -> void {
    if (!part.is_object()) return;
    if (part.value("type", std::string()) == "Split" && part.contains("pattern") &&
        part["pattern"].is_object())
      expression = part["pattern"].value("Regex", std::string());
    if (const auto list = part.find("pretokenizers"); list != part.end() && list->is_array())
      for (const Json& inner : *list)
        if (inner.is_object() && !inner.contains("pretokenizers")) self(self, inner);
  };
  look(look, json.value("pre_tokenizer", Json()));
  for (const Cut& cut : kCuts)
    if (cut.expression == expression) return std::string(cut.name);
  throw Error(ErrorCode::kUnsupported,
              path + ": splits text by " + gemma::quoted(expression) + ", which is not supported");
}

/// Gemma 4's markers that must not be hidden from readers of its answers.
constexpr std::string_view kShownMarkers[] = {"<|channel>",   "<channel|>",       "<|tool_call>",
                                              "<tool_call|>", "<|tool_response>", "<tool_response|>",
                                              "<|\"|>"};

/// Sets the token types of a vocabulary of characters with a fallback to bytes.
void type_characters(Pieces& pieces) {
  for (std::size_t i = 0; i < pieces.texts.size(); ++i) {
    const std::string& text = pieces.texts[i];
    const bool byte = text.size() == 6 && text.starts_with("<0x") && text.back() == '>';
    if (byte && pieces.types[i] == kNormal) pieces.types[i] = kByte;
    if (text == "<unk>") pieces.types[i] = kUnknown;
    for (const std::string_view shown : kShownMarkers)
      if (text == shown) pieces.types[i] = kUserDefined;
    pieces.scores[i] = -1000;
  }
}

void add_bpe(const std::string& folder, const Json& json, const Json& config, const Json& tokenizer,
             std::size_t vocab_size, bool of_lines, gguf::Writer& writer) {
  const std::string path = folder + "/tokenizer.json";
  const auto malformed = [&](const char* what) {
    throw Error(ErrorCode::kMalformed, path + ": " + std::string(what));
  };
  const auto model = json.find("model");
  if (model == json.end() || !model->is_object() || !model->contains("vocab") || !model->contains("merges"))
    malformed("there are no vocabulary and merges");
  Pieces pieces;
  pieces.resize(vocab_size, 0);
  const Json& vocab = (*model)["vocab"];
  if (!vocab.is_object()) malformed("the vocabulary is not an object");
  for (const auto& [text, id] : vocab.items()) {
    if (!id.is_number_unsigned()) malformed("an id is not a number");
    pieces.put(id.get<std::size_t>(), text, kNormal, 0);
  }
  if (const auto added = json.find("added_tokens"); added != json.end() && added->is_array())
    for (const Json& t : *added) {
      if (!t.is_object() || !t.contains("id") || !t["id"].is_number_unsigned())
        malformed("an added token has no id");
      pieces.put(t["id"].get<std::size_t>(), t.value("content", std::string()),
                 t.value("special", false) ? kControl : kUserDefined, 0);
    }
  std::vector<std::string> merges;
  for (const Json& m : (*model)["merges"]) {
    if (m.is_string()) {
      merges.push_back(m.get<std::string>());
    } else if (m.is_array() && m.size() == 2 && m[0].is_string() && m[1].is_string()) {
      merges.push_back(m[0].get<std::string>() + " " + m[1].get<std::string>());
    } else {
      malformed("a merge is not a pair");
    }
  }
  if (of_lines) {
    type_characters(pieces);
    writer.add("tokenizer.ggml.model", "gemma4").add("tokenizer.ggml.add_space_prefix", false);
  } else {
    writer.add("tokenizer.ggml.model", "gpt2").add("tokenizer.ggml.pre", cut_of(json, path));
  }
  add_pieces(pieces, of_lines, writer);
  writer.add_array("tokenizer.ggml.merges", merges);
  add_specials(folder, config, tokenizer, pieces, nullptr, of_lines, writer);
}

/// Whether a tokenizer.json is of the SentencePiece kind: bytes are additional pieces, for characters without
/// a piece, whereas in byte-level BPE all pieces consist of bytes.
bool falls_back_on_bytes(const Json& json) {
  const auto model = json.find("model");
  if (model == json.end() || !model->is_object()) return false;
  const auto fallback = model->find("byte_fallback");
  return fallback != model->end() && fallback->is_boolean() && fallback->get<bool>();
}

}  // namespace

Json read_json(const std::string& path) {
  Json json;
  try {
    json = Json::parse(app::read_file(path));
  } catch (const Json::exception& e) {
    throw Error(ErrorCode::kMalformed, path + ": not JSON: " + e.what());
  }
  if (!json.is_object()) throw Error(ErrorCode::kMalformed, path + ": not a JSON object");
  return json;
}

void add_vocabulary(const std::string& folder, const Json& config, const Conversion& conversion,
                    gguf::Writer& writer) {
  std::size_t vocab_size = 0;
  for (const Placed& p : conversion.tensors)
    if (p.name == "token_embd.weight") vocab_size = p.shape[0];
  const bool of_lines = conversion.architecture == "gemma4";
  const std::string settings = folder + "/tokenizer_config.json";
  const Json tokenizer = std::filesystem::exists(settings) ? read_json(settings) : Json::object();
  const std::string sentencepiece = folder + "/tokenizer.model";
  SentencePieceModel model;
  if (!of_lines && std::filesystem::exists(sentencepiece)) {
    model = read_sentencepiece(sentencepiece);
  } else {
    const std::string path = folder + "/tokenizer.json";
    const Json json = read_json(path);
    const bool of_bytes = !falls_back_on_bytes(json);
    if (of_lines || of_bytes) return add_bpe(folder, json, config, tokenizer, vocab_size, of_lines, writer);
    model = sentencepiece_from_json(json, path);
  }
  Pieces& p = model.pieces;
  if (p.texts.size() > vocab_size) {  // more pieces than rows of the embedding
    p.texts.resize(vocab_size);
    p.scores.resize(vocab_size);
    p.types.resize(vocab_size);
  }
  p.resize(vocab_size, -10000);
  add_tokens(folder, tokenizer, p);
  writer.add("tokenizer.ggml.model", "llama").add("tokenizer.ggml.pre", "default");
  add_pieces(p, true, writer);
  writer.add("tokenizer.ggml.add_space_prefix", model.dummy_prefix);
  add_specials(folder, config, tokenizer, p, &model, false, writer);
}

}  // namespace gemma::convert
