#include "examples/squad/squad.hpp"

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/numbers.hpp"
#include "examples/read_file.hpp"
#include "examples/squad/fail.hpp"
#include "examples/squad/random.hpp"

namespace gemma::squad {
namespace {

using nlohmann::json;

bool is_row(const json& value) {
  return value.contains("context") && value.contains("question");
}

/// Reads a file of any of the supported forms into `out`; `name` is the file's name in messages.
class Reader {
 public:
  Reader(std::string_view name, Dataset& out) : name_(name), out_(out) {}

  /// Reads one JSON value: a published file, an array of rows, the format of the data set viewer's API
  /// ({"rows": [{"row": ...}]}), or a single row.
  void read_whole(const json& root) {
    const bool is_wrapped = root.contains("rows") && root["rows"].is_array();
    if (is_row(root)) return read_row(root, "row 0");
    if (!is_wrapped && !(root.is_array() && !root.empty() && is_row(root[0]))) return read_articles(root);
    const json& rows = is_wrapped ? root["rows"] : root;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const bool has_row = is_wrapped && rows[i].contains("row");
      read_row(has_row ? rows[i]["row"] : rows[i], fmt::format("row {}", i));
    }
  }

  /// Reads JSON lines. Returns false if the first line that is not empty holds no row: then the text is
  /// something else.
  bool read_lines(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    for (std::size_t number = 1; !text.empty(); ++number) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      const auto line = boost::trim_copy_if(text.substr(0, end), boost::is_any_of(" \t\r\n"));
      text.remove_prefix(std::min(end + 1, text.size()));
      if (line.empty()) continue;
      const std::string where = fmt::format("line {}", number);
      const json row = json::parse(line, nullptr, false);
      if (out_.questions.empty() && !is_row(row)) return false;
      if (row.is_discarded()) refuse("{} is not JSON", where);
      read_row(row, where);
    }
    return !out_.questions.empty();
  }

  /// Checks of the whole set.
  void finish() {
    if (out_.questions.empty()) refuse("an empty set: it holds no question");
    for (const Question& question : out_.questions) {
      if (!question.truths.empty() || out_.is_v2) continue;
      if (!is_without_answers_allowed_) {
        refuse("question {} has no answer, which only version 2.0 allows", question.id);
      }
      out_.is_v2 = true;
    }
    if (out_.is_v2 && !says_v2()) out_.version = "v2.0";
  }

 private:
  bool says_v2() const { return out_.version.starts_with("v2") || out_.version.starts_with("2"); }

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> what, Args&&... args) const {
    fail(ErrorCode::kMalformed, "{}: {}", name_, fmt::format(what, std::forward<Args>(args)...));
  }

  /// The member `key` of `object`; `is` tests its type, which is called `kind`.
  const json& member(const json& object, const char* key, bool (json::*is)() const noexcept,
                     std::string_view kind, const std::string& where) const {
    if (!object.is_object()) refuse("not a SQuAD file: {} is not an object", where);
    const auto found = object.find(key);
    if (found == object.end()) refuse("not a SQuAD file: {} has no \"{}\"", where, key);
    if (!((*found).*is)()) refuse("not a SQuAD file: \"{}\" of {} is not {}", key, where, kind);
    return *found;
  }
  const json& array(const json& object, const char* key, const std::string& where) const {
    return member(object, key, &json::is_array, "an array", where);
  }
  const std::string& string(const json& object, const char* key, const std::string& where) const {
    return member(object, key, &json::is_string, "a string", where).get_ref<const std::string&>();
  }
  static std::string title_of(const json& object) {
    const auto title = object.find("title");
    return title != object.end() && title->is_string() ? title->get<std::string>() : std::string();
  }

  /// Reads a SQuAD file as published: articles of paragraphs of questions.
  void read_articles(const json& root) {
    const json& data = array(root, "data", "the top level");
    if (const auto version = root.find("version"); version != root.end() && version->is_string()) {
      out_.version = version->get<std::string>();
    }
    out_.is_v2 = says_v2();
    for (std::size_t i = 0; i < data.size(); ++i) read_article(data[i], fmt::format("article {}", i));
  }

  void read_article(const json& article, const std::string& where) {
    const json& paragraphs = array(article, "paragraphs", where);
    for (std::size_t i = 0; i < paragraphs.size(); ++i) {
      const std::string at = fmt::format("{} paragraph {}", where, i);
      Passage passage{title_of(article), string(paragraphs[i], "context", at)};
      const json& qas = array(paragraphs[i], "qas", at);
      out_.passages.push_back(std::move(passage));
      for (std::size_t q = 0; q < qas.size(); ++q) {
        read_question(qas[q], fmt::format("{} question {}", at, q), out_.passages.size() - 1);
      }
    }
  }

  /// Reads a row of the data set as Hugging Face publishes it: one question with its passage.
  void read_row(const json& row, const std::string& where) {
    const std::string& context = string(row, "context", where);
    Passage passage{title_of(row), context};
    const auto [place, is_new] = passages_.try_emplace(passage.title + '\n' + context, out_.passages.size());
    if (is_new) out_.passages.push_back(std::move(passage));
    // rows have no version: a question without an answer makes the set one of v2.0
    is_without_answers_allowed_ = true;
    read_question(row, where, place->second);
  }

  void read_question(const json& qa, const std::string& where, std::size_t passage) {
    Question question;
    question.id = string(qa, "id", where);
    question.text = string(qa, "question", where);
    question.passage = passage;
    question.truths = read_truths(qa, where);
    const auto impossible = qa.find("is_impossible");
    // "false" is no sign of v2.0: tools write it into sets of v1.1 too
    if (impossible != qa.end() && (question.truths.empty() || *impossible == true)) out_.is_v2 = true;
    if (!ids_.insert(question.id).second) refuse("question id {} appears twice", question.id);
    out_.questions.push_back(std::move(question));
  }

  /// Reads a list of {text, answer_start}, or Hugging Face's {text: [], answer_start: []}.
  std::vector<Truth> read_truths(const json& qa, const std::string& where) const {
    std::vector<Truth> truths;
    const auto add = [&](const std::string& text, const json& start) {
      truths.push_back({text, start.is_number_unsigned() ? start.get<std::size_t>() : 0});
    };
    const auto columns = qa.find("answers");
    if (columns == qa.end() || !columns->is_object()) {
      const json& answers = array(qa, "answers", where);
      for (std::size_t i = 0; i < answers.size(); ++i) {
        const std::string& text = string(answers[i], "text", fmt::format("{} answer {}", where, i));
        add(text, answers[i].value("answer_start", json()));
      }
      return truths;
    }
    const std::string at = where + " answers";
    const json& texts = array(*columns, "text", at);
    const json starts = columns->value("answer_start", json(texts.size(), nullptr));
    if (!starts.is_array() || starts.size() != texts.size()) {
      refuse("not a SQuAD file: {}: {} texts and not as many starts", at, texts.size());
    }
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (!texts[i].is_string()) refuse("not a SQuAD file: text {} of {} is not a string", i, at);
      add(texts[i].get_ref<const std::string&>(), starts[i]);
    }
    return truths;
  }

  std::string_view name_;
  Dataset& out_;
  std::unordered_set<std::string> ids_;
  std::unordered_map<std::string, std::size_t> passages_;  // for rows: title and text -> index
  bool is_without_answers_allowed_ = false;
};

}  // namespace

json parse_json(std::string_view text, std::string_view name) {
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    fail(ErrorCode::kMalformed, "{}: not JSON (byte {})", name, error.byte);
  } catch (const json::out_of_range&) {
    fail(ErrorCode::kMalformed, "{}: not JSON that can be read: a number is too large", name);
  }
}

Dataset parse_dataset(std::string_view text, std::string_view name) {
  Dataset dataset;
  Reader reader(name, dataset);
  if (const json root = json::parse(text, nullptr, false); !root.is_discarded()) {
    reader.read_whole(root);
  } else if (!reader.read_lines(text)) {
    parse_json(text, name);  // throws
  }
  reader.finish();
  return dataset;
}

Dataset read_dataset(const std::filesystem::path& file) {
  return parse_dataset(app::read_file(file.string()), file.string());
}

Dataset select_questions(const Dataset& dataset, std::size_t n, std::uint64_t seed) {
  std::vector<std::size_t> order(dataset.questions.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  SplitMix64 random(seed);
  shuffle(order, random);
  if (n != 0 && n < order.size()) order.resize(n);

  Dataset out{dataset.version, dataset.is_v2, {}, {}};
  std::unordered_map<std::size_t, std::size_t> places;  // of passages in `out`
  for (const std::size_t index : order) {
    Question question = dataset.questions[index];
    const auto [place, is_new] = places.try_emplace(question.passage, out.passages.size());
    if (is_new) out.passages.push_back(dataset.passages[question.passage]);
    question.passage = place->second;
    out.questions.push_back(std::move(question));
  }
  std::ranges::stable_sort(out.questions, {}, &Question::passage);
  return out;
}

Shard parse_shard(std::string_view text) {
  const std::size_t slash = std::min(text.find('/'), text.size());
  const auto index = app::parse_number<decltype(Shard::index)>(text.substr(0, slash));
  const auto count = app::parse_number<decltype(Shard::count)>(text.substr(std::min(slash + 1, text.size())));
  if (!index || !count || *index < 1 || *index > *count) {
    refuse("a shard is i/N with 1 <= i <= N, not {}", quoted(text));
  }
  return {*index, *count};
}

std::vector<std::size_t> questions_of(const Dataset& dataset, Shard shard) {
  std::vector<std::size_t> own;
  for (std::size_t i = 0; i < dataset.questions.size(); ++i) {
    if (dataset.questions[i].passage % shard.count == shard.index - 1) own.push_back(i);
  }
  return own;
}

}  // namespace gemma::squad
