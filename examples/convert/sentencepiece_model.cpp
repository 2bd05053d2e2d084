// See sentencepiece_model.hpp.
#include "examples/convert/sentencepiece_model.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "examples/read_file.hpp"
#include "gguf/error.hpp"

namespace gemma::convert {
namespace {

constexpr std::size_t kMostPieces = 1 << 24;

/// Parser of the wire format of protocol buffers: a message is a sequence of fields.
class Message {
 public:
  Message(std::string_view bytes, const std::string& path) : rest_(bytes), path_(path) {}

  struct Field {
    std::uint64_t number;
    std::uint64_t value;     // of a varint or a fixed-size number
    std::string_view bytes;  // of a field with a length
  };
  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    const std::uint64_t tag = varint();
    Field f{tag >> 3, 0, {}};
    switch (tag & 7) {
      case 0:
        f.value = varint();
        break;
      case 1:
        f.value = fixed(8);
        break;
      case 2:
        f.bytes = take(varint());
        break;
      case 5:
        f.value = fixed(4);
        break;
      default:
        fail();
    }
    return f;
  }
  [[noreturn]] void fail() const {
    throw Error(ErrorCode::kMalformed, path_ + ": not a SentencePiece model, or cut short");
  }

 private:
  std::string_view take(std::uint64_t n) {
    if (n > rest_.size()) fail();
    const std::string_view part = rest_.substr(0, static_cast<std::size_t>(n));
    rest_.remove_prefix(part.size());
    return part;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      if (shift < 64) value |= static_cast<std::uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
    fail();
  }
  std::uint64_t fixed(std::size_t n) {
    std::uint64_t value = 0;
    std::memcpy(&value, take(n).data(), n);
    return value;
  }

  std::string_view rest_;
  const std::string& path_;
};

void read_piece(Message message, Pieces& pieces) {
  std::string text;
  float score = 0;
  auto type = static_cast<std::int32_t>(kNormal);
  while (const auto f = message.next()) {
    if (f->number == 1) text = std::string(f->bytes);
    if (f->number == 2) {
      const auto bits = static_cast<std::uint32_t>(f->value);
      std::memcpy(&score, &bits, sizeof score);
    }
    if (f->number == 3) {
      if (f->value < 1 || f->value > 6) message.fail();
      type = static_cast<std::int32_t>(f->value);
    }
  }
  if (pieces.texts.size() >= kMostPieces) message.fail();
  pieces.texts.push_back(std::move(text));
  pieces.scores.push_back(score);
  pieces.types.push_back(type);
}

/// Reads a tokenizer.json of the SentencePiece kind.
class JsonReader {
 public:
  JsonReader(const Json& json, const std::string& path) : json_(json), path_(path) {}

  SentencePieceModel read() {
    const auto model = json_.find("model");
    if (model == json_.end() || !model->is_object()) malformed("there is no model");
    if (model->value("type", std::string("BPE")) != "BPE" || !model->value("byte_fallback", false))
      throw Error(ErrorCode::kUnsupported, path_ + ": a model of type " +
                                               gemma::quoted(model->value("type", std::string())) +
                                               " is not converted without its tokenizer.model");
    read_vocabulary(*model);
    score_merges(*model);
    const std::string unknown =
        model->is_object() && model->contains("unk_token") && (*model)["unk_token"].is_string()
            ? (*model)["unk_token"].get<std::string>()
            : "<unk>";
    add_tokens();
    out_.unk = out_.bos = out_.eos = -1;
    if (const auto it = ids_.find(unknown); it != ids_.end()) {
      out_.unk = static_cast<std::int64_t>(it->second);
      out_.pieces.types[it->second] = kUnknown;
    }
    out_.dummy_prefix = has_prefix();
    return std::move(out_);
  }

 private:
  static constexpr float kNoScore = -1000000;

  [[noreturn]] void malformed(const std::string& what) const {
    throw Error(ErrorCode::kMalformed, path_ + ": " + what);
  }
  std::size_t id_of(const Json& id) const {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= kMostPieces)
      malformed("an id is not a number below the limit");
    return id.get<std::size_t>();
  }

  void read_vocabulary(const Json& model) {
    const auto vocab = model.find("vocab");
    if (vocab == model.end() || !vocab->is_object() || vocab->empty())
      malformed("the vocabulary is not an object");
    std::size_t n = 0;
    for (const auto& [text, id] : vocab->items()) {
      n = std::max(n, id_of(id) + 1);
      ids_.emplace(text, id_of(id));
    }
    if (n > 2 * ids_.size() + kMostAdded) malformed("ids are far above the number of pieces");
    out_.pieces.resize(n, kNoScore);
    for (const auto& [text, id] : ids_) {
      const bool byte = text.size() == 6 && text.starts_with("<0x") && text.back() == '>';
      out_.pieces.put(id, text, byte ? kByte : kNormal, byte ? 0 : kNoScore);
    }
  }

  /// Sets the scores of pieces from merges. Pieces that no merge makes are single characters: their scores
  /// are never used.
  void score_merges(const Json& model) {
    const auto merges = model.find("merges");
    if (merges == model.end() || !merges->is_array()) malformed("the merges are not a list");
    float score = 0;
    for (const Json& m : *merges) {
      std::string text;
      if (m.is_string()) {
        text = m.get<std::string>();
        const std::size_t space = text.find(' ', 1);  // both parts have at least one character
        if (space == text.npos) malformed("a merge is not a pair");
        text.erase(space, 1);
      } else if (m.is_array() && m.size() == 2 && m[0].is_string() && m[1].is_string()) {
        text = m[0].get<std::string>() + m[1].get<std::string>();
      } else {
        malformed("a merge is not a pair");
      }
      const auto it = ids_.find(text);
      if (it == ids_.end()) malformed("a merge gives " + gemma::quoted(text) + ", which is not a piece");
      if (out_.pieces.scores[it->second] == kNoScore) out_.pieces.scores[it->second] = score--;
    }
  }

  void add_tokens() {
    const auto added = json_.find("added_tokens");
    if (added == json_.end() || !added->is_array()) return;
    for (const Json& t : *added) {
      if (!t.is_object() || !t.contains("id")) malformed("an added token has no id");
      const std::size_t id = id_of(t["id"]);
      if (id >= ids_.size() + kMostAdded) malformed("ids are far above the number of pieces");
      out_.pieces.resize(id + 1, kNoScore);
      std::string text = t.value("content", std::string());
      const bool special = t.value("special", false);
      out_.pieces.put(id, special ? std::move(text) : without_escapes(std::move(text)),
                      special ? kControl : kUserDefined, 0);
    }
  }

  /// Whether a space is added before a text: by the normalizer, or by the pre-tokenizer.
  bool has_prefix() const {
    bool found = false;
    const auto look = [&](const auto& self, const Json& part) -> void {
      if (!part.is_object()) return;
      const std::string type = part.value("type", std::string());
      if (type == "Prepend") found = true;
      if (type == "Metaspace")
        found = found || (part.value("prepend_scheme", std::string("always")) != "never" &&
                          part.value("add_prefix_space", true));
      for (const char* list : {"normalizers", "pretokenizers"})
        if (const auto it = part.find(list); it != part.end() && it->is_array())
          for (const Json& inner : *it)
            if (inner.is_object() && !inner.contains(list)) self(self, inner);
    };
    for (const char* part : {"normalizer", "pre_tokenizer"})
      if (const auto it = json_.find(part); it != json_.end()) look(look, *it);
    return found;
  }

  static constexpr std::size_t kMostAdded = 1 << 16;

  const Json& json_;
  const std::string& path_;
  SentencePieceModel out_;
  std::unordered_map<std::string, std::size_t> ids_;
};

}  // namespace

std::string without_escapes(std::string text) {
  constexpr std::string_view kSpace = "\xE2\x96\x81";
  for (std::size_t at = 0; (at = text.find(kSpace, at)) != text.npos;) text.replace(at, kSpace.size(), " ");
  return text;
}

SentencePieceModel read_sentencepiece(const std::string& path) {
  const std::string bytes = app::read_file(path);
  SentencePieceModel model;
  Message message(bytes, path);
  while (const auto f = message.next()) {
    if (f->number == 1) read_piece(Message(f->bytes, path), model.pieces);
    if (f->number == 2) {
      Message trainer(f->bytes, path);
      while (const auto t = trainer.next()) {
        const auto id = static_cast<std::int64_t>(static_cast<std::int32_t>(t->value));
        if (t->number == 40) model.unk = id;
        if (t->number == 41) model.bos = id;
        if (t->number == 42) model.eos = id;
        if (t->number == 43) model.pad = id;
      }
    }
    if (f->number == 3) {
      Message normalizer(f->bytes, path);
      while (const auto n = normalizer.next())
        if (n->number == 3) model.dummy_prefix = n->value != 0;
    }
  }
  if (model.pieces.texts.empty()) message.fail();
  return model;
}

SentencePieceModel sentencepiece_from_json(const Json& json, const std::string& path) {
  try {
    return JsonReader(json, path).read();
  } catch (const Json::exception& e) {  // a value of an unexpected kind
    throw Error(ErrorCode::kMalformed, path + ": not a tokenizer: " + e.what());
  }
}

}  // namespace gemma::convert
