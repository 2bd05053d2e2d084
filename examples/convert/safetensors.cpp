#include "examples/convert/safetensors.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <limits>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "examples/read_file.hpp"
#include "gguf/error.hpp"

namespace gemma::convert {

using Json = nlohmann::json;

namespace {
constexpr std::uint64_t kMostHeader = 100'000'000;  // as in the format's own library

[[noreturn]] void fail(const std::string& path, ErrorCode code, const std::string& what) {
  throw Error(code, path + ": " + what);
}

struct Type {
  std::string_view name;
  std::size_t bits;
  DType type;
};
constexpr Type kTypes[] = {{"F64", 64, DType::kUnsupported},   {"F32", 32, DType::kF32},
                           {"F16", 16, DType::kF16},           {"BF16", 16, DType::kBF16},
                           {"I64", 64, DType::kUnsupported},   {"U64", 64, DType::kUnsupported},
                           {"I32", 32, DType::kUnsupported},   {"U32", 32, DType::kUnsupported},
                           {"I16", 16, DType::kUnsupported},   {"U16", 16, DType::kUnsupported},
                           {"I8", 8, DType::kUnsupported},     {"U8", 8, DType::kUnsupported},
                           {"BOOL", 8, DType::kUnsupported},   {"F8_E4M3", 8, DType::kUnsupported},
                           {"F8_E5M2", 8, DType::kUnsupported}};

/// Parses the header's JSON; a name that occurs twice is an error.
Json parse_header(const std::string& path, std::string_view text) {
  std::set<std::string> names;
  std::string twice;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::key && depth == 1 &&
        !names.insert(value.get_ref<const std::string&>()).second)
      twice = value.get<std::string>();
    return true;
  };
  Json header;
  try {
    header = Json::parse(text, watch);
  } catch (const Json::exception& e) {
    fail(path, ErrorCode::kMalformed, std::string("the header is not JSON: ") + e.what());
  }
  if (!twice.empty()) fail(path, ErrorCode::kMalformed, "tensor " + gemma::quoted(twice) + " appears twice");
  if (!header.is_object()) fail(path, ErrorCode::kMalformed, "the header is not a JSON object");
  return header;
}

/// A list of non-negative integers.
std::vector<std::size_t> numbers(const Json& entry, const char* key, const std::string& path,
                                 const std::string& name) {
  const auto list = entry.find(key);
  std::vector<std::size_t> out;
  bool good = list != entry.end() && list->is_array();
  if (good)
    for (const Json& n : *list) {
      good = good && n.is_number_unsigned();
      if (good) out.push_back(n.get<std::size_t>());
    }
  if (!good)
    fail(path, ErrorCode::kMalformed,
         "tensor " + gemma::quoted(name) + ": " + key + " is not a list of whole numbers");
  return out;
}

/// Reads one entry of the header and checks it against the data that follows the header.
CheckpointTensor read_entry(const Json& entry, const std::string& name, const std::string& path,
                            std::span<const std::byte> data) {
  const auto malformed = [&](const std::string& what) {
    fail(path, ErrorCode::kMalformed, "tensor " + gemma::quoted(name) + ": " + what);
  };
  if (!entry.is_object()) malformed("its entry is not a JSON object");
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) malformed("dtype is not a string");
  CheckpointTensor t;
  t.name = name;
  t.type_name = dtype->get<std::string>();
  const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const Type& known) { return known.name == t.type_name; });
  if (type == std::end(kTypes)) malformed("the unknown dtype " + gemma::quoted(t.type_name));
  t.type = type->type;
  t.shape = numbers(entry, "shape", path, name);
  std::size_t elements = 1;
  for (const std::size_t d : t.shape)
    if (__builtin_mul_overflow(elements, d, &elements) || elements > (std::size_t{1} << 56))
      malformed("an impossible shape");
  const std::vector<std::size_t> offsets = numbers(entry, "data_offsets", path, name);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) malformed("data_offsets are not begin and end");
  if (offsets[1] > data.size())
    fail(path, ErrorCode::kTruncated,
         "tensor " + gemma::quoted(name) + " ends at byte " + std::to_string(offsets[1]) +
             " of the data, of which there are " + std::to_string(data.size()));
  if (offsets[1] - offsets[0] != elements * type->bits / 8)
    malformed("has " + std::to_string(offsets[1] - offsets[0]) + " bytes, not the " +
              std::to_string(elements * type->bits / 8) + " of its shape and type");
  t.data = data.subspan(offsets[0], offsets[1] - offsets[0]);
  return t;
}

}  // namespace

void Safetensors::add(MappedFile file) {
  const MappedFile& map = *files_.emplace_back(std::make_unique<MappedFile>(std::move(file)));
  const std::string& path = map.path();
  const std::span<const std::byte> bytes = map.bytes();
  std::uint64_t length = 0;
  if (bytes.size() < sizeof length)
    fail(path, ErrorCode::kTruncated, "not a safetensors file: it is too short");
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMostHeader || length > bytes.size() - sizeof length)
    fail(path, ErrorCode::kTruncated,
         "not a safetensors file, or cut short: the header has " + std::to_string(length) + " bytes");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof length,
                              static_cast<std::size_t>(length));
  const auto data = bytes.subspan(sizeof length + static_cast<std::size_t>(length));
  const Json header = parse_header(path, text);
  std::vector<std::pair<const std::byte*, const CheckpointTensor*>> places;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    if (name.empty()) fail(path, ErrorCode::kMalformed, "a tensor without a name");
    const auto [it, added] = tensors_.emplace(name, read_entry(entry, name, path, data));
    if (!added)
      fail(path, ErrorCode::kMalformed, "tensor " + gemma::quoted(name) + " is in another file too");
    it->second.file = &map;
    if (!it->second.data.empty()) places.emplace_back(it->second.data.data(), &it->second);
  }
  std::sort(places.begin(), places.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (std::size_t i = 1; i < places.size(); ++i)
    if (places[i - 1].first + places[i - 1].second->data.size() > places[i].first)
      fail(path, ErrorCode::kMalformed,
           "the data of tensors " + gemma::quoted(places[i - 1].second->name) + " and " +
               gemma::quoted(places[i].second->name) + " overlap");
}

void Safetensors::open_index(const std::string& folder, const std::string& index) {
  std::set<std::string> names;
  try {
    const Json json = Json::parse(app::read_file(index));
    for (const auto& [tensor, file] : json.at("weight_map").items()) names.insert(file.get<std::string>());
  } catch (const Json::exception& e) {
    fail(index, ErrorCode::kMalformed, std::string("not an index of a checkpoint: ") + e.what());
  }
  for (const std::string& name : names) {
    if (name.empty() || name.find('/') != name.npos || name.find('\0') != name.npos)
      fail(index, ErrorCode::kMalformed, gemma::quoted(name) + " is not the name of a file beside it");
    add(MappedFile(folder + "/" + name));
  }
  if (names.empty()) fail(index, ErrorCode::kMalformed, "names no file");
}

Safetensors Safetensors::open(const std::string& path) {
  namespace fs = std::filesystem;
  Safetensors result;
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    result.add(MappedFile(path));
    return result;
  }
  const std::string index = path + "/model.safetensors.index.json";
  if (fs::exists(index, ignored)) {
    result.open_index(path, index);
    return result;
  }
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(path, ignored))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path().string());
  if (files.empty()) fail(path, ErrorCode::kIo, "there is no .safetensors file in the folder");
  if (files.size() > 1)
    fail(path, ErrorCode::kIo,
         std::to_string(files.size()) +
             " .safetensors files in the folder, and no model.safetensors.index.json");
  result.add(MappedFile(files.front()));
  return result;
}

Safetensors Safetensors::from_memory(std::span<const std::byte> bytes, std::string name) {
  Safetensors result;
  result.add(MappedFile::borrow(bytes, std::move(name)));
  return result;
}

const CheckpointTensor* Safetensors::find(std::string_view name) const noexcept {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

}  // namespace gemma::convert
