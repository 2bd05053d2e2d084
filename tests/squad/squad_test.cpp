#include "examples/squad/squad.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "examples/squad/random.hpp"
#include "gguf/error.hpp"

namespace gemma::squad {
namespace {

constexpr const char* kSmall = R"({"version":"1.1","data":[
 {"title":"Rivers","paragraphs":[
  {"context":"The Elbe is 1,094 km long.","qas":[
   {"id":"a","question":"How long is the Elbe?","answers":[{"text":"1,094 km","answer_start":12}]},
   {"id":"b","question":"What is 1,094 km long?","answers":[{"text":"The Elbe","answer_start":0},{"text":"Elbe","answer_start":4}]}]},
  {"context":"The Oder is shorter.","qas":[
   {"id":"c","question":"What is shorter?","answers":[{"text":"The Oder","answer_start":0}]}]}]}]})";

std::string message_of(const std::string& json) {
  try {
    parse_dataset(json, "set.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kMalformed);
    return std::string(error.message());
  }
  return "accepted";
}

Dataset numbered(std::size_t passages, std::size_t per_passage) {
  Dataset dataset;
  for (std::size_t p = 0; p < passages; ++p) {
    dataset.passages.push_back({"t", "p" + std::to_string(p)});
    for (std::size_t q = 0; q < per_passage; ++q) {
      dataset.questions.push_back({std::to_string(p) + "/" + std::to_string(q), "?", {{"x", 0}}, p});
    }
  }
  return dataset;
}

TEST(ReadDataset, HoldsWhatTheFileSays) {
  const Dataset set = parse_dataset(kSmall, "set.json");
  EXPECT_EQ(set.version, "1.1");
  EXPECT_FALSE(set.is_v2);
  ASSERT_EQ(set.passages.size(), 2U);
  EXPECT_EQ(set.passages[0].title, "Rivers");
  ASSERT_EQ(set.questions.size(), 3U);
  EXPECT_EQ(set.questions[1].truths[1].text, "Elbe");
  EXPECT_EQ(set.questions[1].truths[1].start, 4U);
  EXPECT_EQ(set.questions[2].passage, 1U);
}

TEST(ReadDataset, Version2AllowsNoAnswer) {
  const char* text = R"({"version":"v2.0","data":[{"title":"T","paragraphs":[{"context":"C","qas":[
    {"id":"a","question":"Q","is_impossible":true,"answers":[],"plausible_answers":[{"text":"C","answer_start":0}]}]}]}]})";
  const Dataset set = parse_dataset(text, "set.json");
  EXPECT_TRUE(set.is_v2);
  EXPECT_TRUE(set.questions[0].truths.empty());
}

// Tools write the key into sets of v1.1, which are scored as such all the same.
TEST(ReadDataset, ImpossibleFalseEverywhereIsVersion1) {
  const auto with = [](const std::string& version, const std::string& first, const std::string& second) {
    const std::string answers =
        R"("question":"Q","answers":[{"text":"C","answer_start":0}],"is_impossible":)";
    return parse_dataset(R"({"version":")" + version + R"(","data":[{"paragraphs":[{"context":"C","qas":[)" +
                             R"({"id":"a",)" + answers + first + R"(},{"id":"b",)" + answers + second +
                             "}]}]}]}",
                         "set.json");
  };
  EXPECT_FALSE(with("1.1", "false", "false").is_v2);
  EXPECT_FALSE(with("", "false", "false").is_v2);
  EXPECT_TRUE(with("v2.0", "false", "false").is_v2);
  EXPECT_TRUE(with("1.1", "false", "true").is_v2);
  EXPECT_EQ(with("1.1", "false", "true").version, "v2.0");
  EXPECT_EQ(with("1.1", "false", "false").version, "1.1");
}

constexpr const char* kRows =
    R"({"id":"a","title":"Rivers","context":"The Elbe is long.","question":"What is long?",)"
    R"("answers":{"text":["The Elbe","Elbe"],"answer_start":[0,4]}})"
    "\n"
    R"({"id":"b","title":"Rivers","context":"The Oder is shorter.","question":"Which?",)"
    R"("answers":{"text":["The Oder"],"answer_start":[0]}})"
    "\r\n\n"
    R"({"id":"c","title":"Rivers","context":"The Elbe is long.","question":"Is it long?",)"
    R"("answers":{"text":["long"],"answer_start":[12]}})"
    "\n";

TEST(ReadDataset, RowsAsHuggingFacePublishesThem) {
  const std::string rows = kRows;
  const Dataset set = parse_dataset(rows, "rows.jsonl");
  EXPECT_FALSE(set.is_v2);
  ASSERT_EQ(set.passages.size(), 2U);  // rows of one context share it
  ASSERT_EQ(set.questions.size(), 3U);
  EXPECT_EQ(set.passages[0].title, "Rivers");
  EXPECT_EQ(set.questions[0].truths[1].text, "Elbe");
  EXPECT_EQ(set.questions[0].truths[1].start, 4U);
  EXPECT_EQ(set.questions[1].passage, 1U);
  EXPECT_EQ(set.questions[2].passage, 0U);
  std::string array = "[" + rows + "]";
  array.replace(array.find("}\n{"), 3, "},{");
  array.replace(array.find("}\r\n\n{"), 5, "},{");
  EXPECT_EQ(parse_dataset(array, "rows.json").questions.size(), 3U);
  const std::string first = rows.substr(0, rows.find('\n'));
  EXPECT_EQ(parse_dataset(first, "one.jsonl").questions.size(), 1U);
  EXPECT_EQ(parse_dataset("\xEF\xBB\xBF" + rows, "bom.jsonl").questions.size(), 3U);
  const std::string api = R"({"features":[],"rows":[{"row_idx":0,"row":)" + first + "}]}";
  EXPECT_EQ(parse_dataset(api, "api.json").questions.size(), 1U);
}

TEST(ReadDataset, RowsWithoutAnAnswerAreVersion2) {
  const std::string none =
      R"({"id":"d","title":"","context":"C","question":"Q","answers":{"text":[],"answer_start":[]}})";
  const Dataset set = parse_dataset(kRows + none, "rows.jsonl");
  EXPECT_TRUE(set.is_v2);
  EXPECT_EQ(set.version, "v2.0");
  EXPECT_TRUE(set.questions[3].truths.empty());
}

TEST(ReadDataset, BadRowsNameTheirLine) {
  const std::string rows = kRows;
  EXPECT_EQ(message_of(rows + "{\"id\": "), "set.json: line 5 is not JSON");
  EXPECT_EQ(message_of(rows + "{}"), "set.json: not a SQuAD file: line 5 has no \"context\"");
  EXPECT_EQ(message_of(rows + "7"), "set.json: not a SQuAD file: line 5 is not an object");
  EXPECT_EQ(message_of(rows + rows), "set.json: question id a appears twice");
  const auto answers = [](const char* text) {
    return message_of(std::string(R"({"id":"a","context":"C","question":"Q","answers":)") + text + "}");
  };
  EXPECT_EQ(answers(R"({"text":"x"})"),
            "set.json: not a SQuAD file: \"text\" of row 0 answers is not an array");
  EXPECT_EQ(answers(R"({"text":[7],"answer_start":[0]})"),
            "set.json: not a SQuAD file: text 0 of row 0 answers is not a string");
  EXPECT_EQ(answers(R"({"text":["x"],"answer_start":[]})"),
            "set.json: not a SQuAD file: row 0 answers: 1 texts and not as many starts");
  EXPECT_EQ(answers("7"), "set.json: not a SQuAD file: \"answers\" of row 0 is not an array");
  for (std::size_t n = 0; n < rows.size(); ++n) message_of(rows.substr(0, n));  // never a crash
}

TEST(ReadDataset, BadInputIsOneLineThatNamesThePlace) {
  EXPECT_EQ(message_of("{"), "set.json: not JSON (byte 2)");
  EXPECT_EQ(message_of("[1e999]"), "set.json: not JSON that can be read: a number is too large");
  EXPECT_EQ(message_of("[]"), "set.json: not a SQuAD file: the top level is not an object");
  EXPECT_EQ(message_of("{}"), "set.json: not a SQuAD file: the top level has no \"data\"");
  EXPECT_EQ(message_of(R"({"data":{}})"),
            "set.json: not a SQuAD file: \"data\" of the top level is not an array");
  EXPECT_EQ(message_of(R"({"data":[]})"), "set.json: an empty set: it holds no question");
  EXPECT_EQ(message_of(R"({"data":[{"paragraphs":[{"context":7,"qas":[]}]}]})"),
            "set.json: not a SQuAD file: \"context\" of article 0 paragraph 0 is not a string");
  EXPECT_EQ(
      message_of(
          R"({"data":[{"paragraphs":[{"context":"c","qas":[{"id":"a","question":"q","answers":[]}]}]}]})"),
      "set.json: question a has no answer, which only version 2.0 allows");
  const std::string one = R"({"id":"a","question":"q","answers":[{"text":"t","answer_start":0}]})";
  EXPECT_EQ(message_of(R"({"data":[{"paragraphs":[{"context":"c","qas":[)" + one + "," + one + "]}]}]}"),
            "set.json: question id a appears twice");
  EXPECT_THROW(read_dataset("no/such/file.json"), Error);
  EXPECT_THROW(read_dataset("."), Error);
}

TEST(ReadDataset, CutAnywhereIsAnErrorNeverACrash) {
  const std::string whole = kSmall;
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_NE(message_of(whole.substr(0, n)), "accepted") << n;
}

// First outputs of the published C code for seed 1234567 (Vigna, splitmix64.c), as other implementations list
// them.
TEST(SplitMix64, PublishedSequence) {
  SplitMix64 random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317U);
  EXPECT_EQ(random.next(), 3203168211198807973U);
  EXPECT_EQ(random.next(), 9817491932198370423U);
  EXPECT_EQ(random.next(), 4593380528125082431U);
  EXPECT_EQ(random.next(), 16408922859458223821U);
}

TEST(Shuffle, EveryOrderOfFourIsEquallyLikely) {
  SplitMix64 random(7);
  std::vector<int> counts(256, 0);
  constexpr int kRounds = 24000;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<int> items = {0, 1, 2, 3};
    shuffle(items, random);
    ++counts.at(static_cast<unsigned>(items[0] * 64 + items[1] * 16 + items[2] * 4 + items[3]));
  }
  double chi_square = 0;  // 24 cells of 1000 expected; 99.9% of chi-square with 23 degrees of freedom is 49.7
  int seen = 0;
  for (const int count : counts) {
    if (count == 0) continue;
    ++seen;
    chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
  }
  EXPECT_EQ(seen, 24);
  EXPECT_LT(chi_square, 49.7);
}

std::vector<std::string> ids_of(const Dataset& set) {
  std::vector<std::string> ids;
  for (const Question& question : set.questions) ids.push_back(question.id);
  return ids;
}

TEST(SelectQuestions, IsThePermutationOfTheSeed) {
  const Dataset set = numbered(40, 5);
  const std::vector<std::string> first = ids_of(select_questions(set, 60, 1));
  EXPECT_EQ(first.size(), 60U);
  EXPECT_EQ(std::set<std::string>(first.begin(), first.end()).size(), 60U);
  EXPECT_EQ(ids_of(select_questions(set, 60, 1)), first);
  EXPECT_NE(ids_of(select_questions(set, 60, 2)), first);
  EXPECT_EQ(select_questions(set, 0, 1).questions.size(), 200U);
  EXPECT_EQ(select_questions(set, 1000, 1).questions.size(), 200U);
  // a fixed expectation, so that a change of generator or shuffle cannot pass unseen
  EXPECT_EQ(ids_of(select_questions(numbered(10, 1), 0, 1)),
            (std::vector<std::string>{"4/0", "2/0", "8/0", "1/0", "9/0", "3/0", "0/0", "6/0", "7/0", "5/0"}));
}

TEST(SelectQuestions, GathersByPassageWithoutLosingTheSelection) {
  const Dataset set = numbered(30, 7);
  const Dataset selection = select_questions(set, 100, 3);
  std::set<std::string> passages;
  for (const Passage& passage : selection.passages) {
    EXPECT_TRUE(passages.insert(passage.text).second) << "a passage appears twice";
  }
  // passages come in the order of their questions, each with its own
  std::size_t passage = 0;
  for (const Question& question : selection.questions) {
    EXPECT_TRUE(question.passage == passage || question.passage == passage + 1);
    passage = question.passage;
    EXPECT_EQ(selection.passages[passage].text, "p" + question.id.substr(0, question.id.find('/')));
  }
  EXPECT_EQ(passage + 1, selection.passages.size());
  // the same 100 questions as the plain shuffle's first 100, each passage's in the same order
  std::vector<std::size_t> order(set.questions.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  SplitMix64 random(3);
  shuffle(order, random);
  std::map<std::size_t, std::vector<std::string>> wanted, chosen;
  for (std::size_t i = 0; i < 100; ++i) {
    const Question& question = set.questions[order[i]];
    wanted[question.passage].push_back(question.id);
  }
  for (const Question& question : selection.questions) {
    chosen[std::stoul(question.id)].push_back(question.id);
  }
  EXPECT_EQ(chosen, wanted);
}

TEST(Shard, PartsAreDisjointAndWhole) {
  const Dataset selection = select_questions(numbered(31, 3), 0, 1);
  for (std::size_t count = 1; count <= 40; ++count) {
    std::vector<std::size_t> all;
    for (std::size_t index = 1; index <= count; ++index) {
      const std::vector<std::size_t> own = questions_of(selection, {index, count});
      EXPECT_TRUE(std::is_sorted(own.begin(), own.end()));
      all.insert(all.end(), own.begin(), own.end());
    }
    std::sort(all.begin(), all.end());
    std::vector<std::size_t> whole(selection.questions.size());
    std::iota(whole.begin(), whole.end(), std::size_t{0});
    EXPECT_EQ(all, whole) << count;
  }
}

TEST(Shard, Text) {
  EXPECT_EQ(parse_shard("2/8").index, 2U);
  EXPECT_EQ(parse_shard("2/8").count, 8U);
  for (const char* bad : {"", "2", "0/8", "9/8", "2/", "/8", "2/8x", "-1/8", "a/b", "1/0"}) {
    EXPECT_THROW(parse_shard(bad), Error) << bad;
  }
}

}  // namespace
}  // namespace gemma::squad
