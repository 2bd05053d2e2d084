#include "examples/squad/squad.hpp"

#include <charconv>
#include <fstream>
#include <iterator>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/squad/random.hpp"
#include "gguf/error.hpp"

namespace gemma::squad {
namespace {

using nlohmann::json;

[[noreturn]] void fail(std::string_view name, std::string_view what) {
  throw Error(ErrorCode::kMalformed, fmt::format("{}: {}", name, what));
}

/// The member `key` of `object`, of the type that `is` tests for.
const json& member(const json& object, const char* key, bool (json::*is)() const noexcept,
                   std::string_view kind, std::string_view name, const std::string& where) {
  if (!object.is_object()) fail(name, fmt::format("not a SQuAD file: {} is not an object", where));
  const auto found = object.find(key);
  if (found == object.end()) fail(name, fmt::format("not a SQuAD file: {} has no \"{}\"", where, key));
  if (!((*found).*is)())
    fail(name, fmt::format("not a SQuAD file: \"{}\" of {} is not {}", key, where, kind));
  return *found;
}

class Reader {
 public:
  Reader(std::string_view name, Dataset& out) : name_(name), out_(out) {}

  void read(const json& root) {
    const json& data = array(root, "data", "the top level");
    if (const auto version = root.find("version"); version != root.end() && version->is_string()) {
      out_.version = version->get<std::string>();
    }
    out_.is_v2 = out_.version.starts_with("v2") || out_.version.starts_with("2");
    for (std::size_t i = 0; i < data.size(); ++i) read_article(data[i], fmt::format("article {}", i));
    if (out_.questions.empty()) fail(name_, "an empty set: it holds no question");
  }

 private:
  const json& array(const json& object, const char* key, const std::string& where) const {
    return member(object, key, &json::is_array, "an array", name_, where);
  }
  const std::string& string(const json& object, const char* key, const std::string& where) const {
    return member(object, key, &json::is_string, "a string", name_, where).get_ref<const std::string&>();
  }

  void read_article(const json& article, const std::string& where) {
    const json& paragraphs = array(article, "paragraphs", where);
    const auto title = article.find("title");
    for (std::size_t i = 0; i < paragraphs.size(); ++i) {
      const std::string at = fmt::format("{} paragraph {}", where, i);
      Passage passage;
      if (title != article.end() && title->is_string()) passage.title = title->get<std::string>();
      passage.text = string(paragraphs[i], "context", at);
      const json& qas = array(paragraphs[i], "qas", at);
      out_.passages.push_back(std::move(passage));
      for (std::size_t q = 0; q < qas.size(); ++q)
        read_question(qas[q], fmt::format("{} question {}", at, q));
    }
  }

  void read_question(const json& qa, const std::string& where) {
    Question question;
    question.id = string(qa, "id", where);
    question.text = string(qa, "question", where);
    question.passage = out_.passages.size() - 1;
    const json& answers = array(qa, "answers", where);
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const std::string at = fmt::format("{} answer {}", where, i);
      Truth truth{string(answers[i], "text", at), 0};
      if (const auto start = answers[i].find("answer_start");
          start != answers[i].end() && start->is_number_unsigned()) {
        truth.start = start->get<std::size_t>();
      }
      question.truths.push_back(std::move(truth));
    }
    if (const auto impossible = qa.find("is_impossible"); impossible != qa.end()) out_.is_v2 = true;
    if (question.truths.empty() && !out_.is_v2) {
      fail(name_, fmt::format("question {} has no answer, which only version 2.0 allows", question.id));
    }
    if (!ids_.insert(question.id).second)
      fail(name_, fmt::format("question id {} stands twice", question.id));
    out_.questions.push_back(std::move(question));
  }

  std::string_view name_;
  Dataset& out_;
  std::unordered_set<std::string> ids_;
};

}  // namespace

Dataset parse_dataset(std::string_view text, std::string_view name) {
  Dataset dataset;
  try {
    Reader(name, dataset).read(json::parse(text));
  } catch (const json::parse_error& error) {
    fail(name, fmt::format("not JSON (byte {})", error.byte));
  } catch (const json::out_of_range&) {
    fail(name, "not JSON that is read: a number is beyond the range of any");
  }
  return dataset;
}

Dataset read_dataset(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file)) {
    throw Error(ErrorCode::kIo, fmt::format("{}: cannot be opened", file.string()));
  }
  const std::string text(std::istreambuf_iterator<char>(in), {});
  if (in.bad()) throw Error(ErrorCode::kIo, fmt::format("{}: cannot be read", file.string()));
  return parse_dataset(text, file.string());
}

std::vector<PassageGroup> select_questions(const Dataset& dataset, std::size_t n, std::uint64_t seed) {
  std::vector<std::size_t> order(dataset.questions.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  SplitMix64 random(seed);
  shuffle(order, random);
  if (n != 0 && n < order.size()) order.resize(n);

  std::vector<PassageGroup> groups;
  std::unordered_map<std::size_t, std::size_t> group_of;  // passage -> index into groups
  for (const std::size_t question : order) {
    const std::size_t passage = dataset.questions[question].passage;
    const auto [place, is_new] = group_of.try_emplace(passage, groups.size());
    if (is_new) groups.push_back({passage, {}});
    groups[place->second].questions.push_back(question);
  }
  return groups;
}

Shard parse_shard(std::string_view text) {
  Shard shard;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, shard.index);
  bool good = first.ec == std::errc() && first.ptr != end && *first.ptr == '/';
  if (good) {
    const auto second = std::from_chars(first.ptr + 1, end, shard.count);
    good = second.ec == std::errc() && second.ptr == end;
  }
  if (!good || shard.index < 1 || shard.index > shard.count) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("a shard is i/N with 1 <= i <= N, not {}", quoted(text)));
  }
  return shard;
}

std::vector<PassageGroup> shard_of(const std::vector<PassageGroup>& groups, Shard shard) {
  std::vector<PassageGroup> own;
  for (std::size_t i = shard.index - 1; i < groups.size(); i += shard.count) own.push_back(groups[i]);
  return own;
}

std::vector<std::size_t> questions_of(const std::vector<PassageGroup>& groups) {
  std::vector<std::size_t> all;
  for (const PassageGroup& group : groups)
    all.insert(all.end(), group.questions.begin(), group.questions.end());
  return all;
}

}  // namespace gemma::squad
