// The evaluator's data set: what is read is whole.
#include <string_view>

#include "examples/squad/squad.hpp"
#include "gguf/error.hpp"
#include "tests/fuzz/targets.hpp"

namespace gemma::fuzz {
namespace {

void run(Bytes input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  try {
    const squad::Dataset set = squad::parse_dataset(text, "fuzz");
    require(!set.questions.empty(), "a set has questions");
    for (const squad::Question& q : set.questions) {
      require(q.passage < set.passages.size(), "a question has its passage");
      require(set.is_v2 || !q.truths.empty(), "a question of v1.1 has an answer");
    }
    const squad::Dataset selection = squad::select_questions(set, 0, text.size());
    require(selection.questions.size() == set.questions.size(), "all questions are selected");
    const auto first = squad::questions_of(selection, {1, 2});
    const auto second = squad::questions_of(selection, {2, 2});
    require(first.size() + second.size() == set.questions.size(), "shards are all of a selection");
  } catch (const Error& e) {
    require(!e.message().empty(), "an error says what is wrong");
    require(e.message().find('\n') == e.message().npos, "an error is one line");
  }
}

std::vector<Input> seeds() {
  std::vector<Input> out;
  for (const std::string_view text :
       {R"({"version":"1.1","data":[{"title":"T","paragraphs":[{"context":"In 1889.","qas":[)"
        R"({"id":"1","question":"When?","answers":[{"text":"1889","answer_start":3}]},)"
        R"({"id":"2","question":"What?","answers":[{"text":"In","answer_start":0},{"text":"it"}]}]}]}]})",
        R"({"version":"v2.0","data":[{"paragraphs":[{"context":"\u00e9\ud83d\ude00","qas":[)"
        R"({"id":"a","question":"","is_impossible":true,"answers":[]}]},{"context":"","qas":[]}]}]})",
        R"({"id":"1","title":"T","context":"C","question":"Q","answers":{"text":["C"],"answer_start":[0]}})"
        "\n"
        R"({"id":"2","title":"T","context":"C","question":"Q","answers":{"text":[],"answer_start":[]}})",
        R"([{"id":"1","context":"C","question":"Q","answers":[{"text":"C"}],"is_impossible":false}])",
        R"({"rows":[{"row":{"id":"1","context":"C","question":"Q","answers":{"text":["C"]}}}]})",
        R"({"data":[]})", R"([1,-2.5e3,null,true,"\\\"\n"])"}) {
    out.push_back(to_input(text));
  }
  return out;
}

}  // namespace

const Target kSquad{"squad", run, seeds, false};

}  // namespace gemma::fuzz
