// Generations of the C interface one step at a time, grammars, and the tokens that samplers take note of.
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/api/c_session.hpp"

namespace gemma::test {
namespace {

class CGeneration : public CSession {
 protected:
  struct Heard {
    std::string text;
    std::vector<std::int32_t> ids;
    std::vector<double> log_probabilities;
  };

  CGeneration() {
    const gemma_message message = {"user", "Where is the lighthouse?"};
    ids_ = chat_ids({&message, 1});
    options_.ignore_end = 1;
    options_.max_tokens = 12;
  }
  void ask() { EXPECT_EQ(gemma_session_set_tokens(session_, ids_.data(), ids_.size(), nullptr, &error_), 0); }
  static int hear(const gemma_token* token, void* user) {
    auto* h = static_cast<Heard*>(user);
    h->text.append(token->text, token->text_length);
    if (token->id < 0) return 1;
    h->ids.push_back(token->id);
    h->log_probabilities.push_back(token->log_probability);
    return 1;
  }
  Heard whole(gemma_sampler* sampler) {
    ask();
    Heard heard;
    gemma_generate_options options = options_;
    options.user = &heard;
    options.on_token = hear;
    EXPECT_EQ(gemma_session_generate(session_, sampler, &options, nullptr, &error_), 0);
    return heard;
  }
  Heard stepwise(gemma_sampler* sampler, int* reason = nullptr) {
    ask();
    Heard heard;
    gemma_stream* stream = gemma_session_stream(session_, sampler, &options_, &error_);
    gemma_token token;
    int state = 0;
    while ((state = gemma_stream_next(stream, &token, &error_)) == GEMMA_ANSWER_TOKEN) hear(&token, &heard);
    EXPECT_EQ(state, GEMMA_ANSWER_END);
    EXPECT_EQ(gemma_stream_next(stream, &token, &error_), GEMMA_ANSWER_END);
    gemma_generate_result result = GEMMA_GENERATE_RESULT_INIT;
    EXPECT_EQ(gemma_stream_get_result(stream, &result, &error_), 0);
    EXPECT_EQ(result.n_tokens, heard.ids.size());
    if (reason != nullptr) *reason = result.reason;
    gemma_stream_free(stream);
    return heard;
  }
  gemma_grammar* grammar(int kind, std::string_view text) {
    return gemma_grammar_new(model_, kind, text.data(), text.size(), &error_);
  }

  std::vector<std::int32_t> ids_;
  gemma_generate_options options_ = GEMMA_GENERATE_OPTIONS_INIT;
};

TEST_F(CGeneration, AStreamSaysWhatACallSays) {
  options_.log_probabilities = 1;
  gemma_sampler_options how = GEMMA_SAMPLER_OPTIONS_INIT;
  how.temperature = 0.9f;
  how.seed = 5;
  gemma_sampler* one = gemma_sampler_new(&how, &error_);
  gemma_sampler* two = gemma_sampler_new(&how, &error_);
  const Heard want = whole(one);
  int reason = -1;
  const Heard got = stepwise(two, &reason);
  EXPECT_EQ(reason, GEMMA_STOP_MAX_TOKENS);
  EXPECT_EQ(got.ids.size(), 12u);
  EXPECT_EQ(got.ids, want.ids);
  EXPECT_EQ(got.text, want.text);
  EXPECT_EQ(got.log_probabilities, want.log_probabilities);
  EXPECT_LT(got.log_probabilities[0], 0);
  gemma_sampler_free(one);
  gemma_sampler_free(two);
}

TEST_F(CGeneration, AStreamMayEndEarlierAndIsCancelled) {
  ask();
  gemma_stream* stream = gemma_session_stream(session_, nullptr, &options_, &error_);
  ASSERT_NE(stream, nullptr);
  EXPECT_EQ(gemma_session_n_past(session_), ids_.size()) << "nothing is computed yet";
  gemma_token token;
  std::vector<std::int32_t> heard = ids_;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(gemma_stream_next(stream, &token, &error_), GEMMA_ANSWER_TOKEN);
    heard.push_back(token.id);
  }
  gemma_stream_free(stream);
  heard.pop_back();
  std::vector<std::int32_t> there(100);
  std::size_t n = 0;
  ASSERT_EQ(gemma_session_get_tokens(session_, there.data(), there.size(), &n, &error_), 0);
  there.resize(n);
  EXPECT_EQ(there, heard);

  stream = gemma_session_stream(session_, nullptr, &options_, &error_);
  ASSERT_EQ(gemma_stream_next(stream, &token, &error_), GEMMA_ANSWER_TOKEN);
  gemma_session_cancel(session_);
  EXPECT_EQ(gemma_stream_next(stream, &token, &error_), GEMMA_ANSWER_END);
  gemma_generate_result result = GEMMA_GENERATE_RESULT_INIT;
  EXPECT_EQ(gemma_stream_get_result(stream, &result, &error_), 0);
  EXPECT_EQ(result.reason, GEMMA_STOP_CANCELLED);
  gemma_stream_free(stream);
  gemma_session_clear_cancel(session_);
}

TEST_F(CGeneration, AnAnswerIsATextOfItsGrammar) {
  gemma_grammar* digits = grammar(GEMMA_GRAMMAR_GBNF, "root ::= [0-9] [0-9] \"-\" [a-c]");
  ASSERT_NE(digits, nullptr) << gemma_error_get_message(error_);
  EXPECT_EQ(gemma_grammar_matches(digits, "12-b", 4, &error_), 1);
  EXPECT_EQ(gemma_grammar_matches(digits, "12-d", 4, &error_), 0);
  options_.ignore_end = 0;
  options_.grammar = digits;
  gemma_sampler_options how = GEMMA_SAMPLER_OPTIONS_INIT;
  how.temperature = 0.8f;
  how.seed = 2;
  gemma_sampler* sampler = gemma_sampler_new(&how, &error_);
  for (gemma_sampler* s : {static_cast<gemma_sampler*>(nullptr), sampler}) {
    for (const std::string& text : {whole(s).text, stepwise(s).text}) {
      EXPECT_EQ(gemma_grammar_matches(digits, text.data(), text.size(), &error_), 1) << text;
    }
  }
  gemma_scheduler* scheduler = gemma_scheduler_new(model_, nullptr, &error_);
  gemma_answer* answer =
      gemma_scheduler_submit(scheduler, ids_.data(), ids_.size(), &how, &options_, &error_);
  gemma_grammar_free(digits);  // running generations do not need it
  Heard heard;
  gemma_token token;
  while (gemma_answer_next(answer, &token, -1, &error_) == GEMMA_ANSWER_TOKEN) hear(&token, &heard);
  digits = grammar(GEMMA_GRAMMAR_GBNF, "root ::= [0-9] [0-9] \"-\" [a-c]");
  EXPECT_EQ(gemma_grammar_matches(digits, heard.text.data(), heard.text.size(), &error_), 1) << heard.text;
  gemma_answer_free(answer);
  gemma_scheduler_free(scheduler);
  gemma_grammar_free(digits);
  gemma_sampler_free(sampler);
}

TEST_F(CGeneration, SchemasAndWhatCannotBeKept) {
  gemma_grammar* schema =
      grammar(GEMMA_GRAMMAR_JSON_SCHEMA, R"({"type": "object", "properties": {"n": {"type": "integer"}}})");
  ASSERT_NE(schema, nullptr);
  EXPECT_EQ(gemma_grammar_matches(schema, "{\"n\": 3}", 8, &error_), 1);
  EXPECT_EQ(gemma_grammar_matches(schema, "{\"n\": \"3\"}", 10, &error_), 0);
  gemma_grammar* object = gemma_grammar_new(model_, GEMMA_GRAMMAR_JSON_OBJECT, nullptr, 0, &error_);
  ASSERT_NE(object, nullptr);
  options_.grammar = object;
  options_.pick = [](const float*, std::size_t, void*) { return 5; };
  ask();
  EXPECT_EQ(gemma_session_generate(session_, nullptr, &options_, nullptr, &error_), -1);
  EXPECT_NE(why(GEMMA_ERROR_INVALID_ARGUMENT).find("grammar"), std::string::npos);
  EXPECT_EQ(gemma_session_stream(session_, nullptr, &options_, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(grammar(GEMMA_GRAMMAR_GBNF, "root ::= \"a"), nullptr);
  why(GEMMA_ERROR_MALFORMED);
  EXPECT_EQ(grammar(GEMMA_GRAMMAR_JSON_SCHEMA, "[1]"), nullptr);
  why(GEMMA_ERROR_MALFORMED);
  EXPECT_EQ(grammar(77, "root ::= \"a\""), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gemma_grammar_new(nullptr, GEMMA_GRAMMAR_GBNF, "", 0, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  gemma_grammar_free(schema);
  gemma_grammar_free(object);
  gemma_grammar_free(nullptr);
}

TEST_F(CGeneration, ASamplerKnowsWhatItIsTold) {
  gemma_sampler_options how = GEMMA_SAMPLER_OPTIONS_INIT;
  how.repeat_penalty = 10;
  gemma_sampler* sampler = gemma_sampler_new(&how, &error_);
  const float logits[] = {1.0f, 3.0f, 2.0f};
  ASSERT_EQ(gemma_sampler_note(sampler, 1, &error_), 0);
  EXPECT_EQ(gemma_sampler_sample(sampler, logits, 3, &error_), 2);
  gemma_sampler_free(sampler);
  EXPECT_EQ(gemma_sampler_note(nullptr, 1, &error_), -1);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
}

TEST_F(CGeneration, TheLikeliestTokens) {
  const float logits[] = {1.0f, 3.0f, 2.0f};
  gemma_token_probability top[5];
  std::size_t n = 0;
  ASSERT_EQ(gemma_top_log_probabilities(logits, 3, top, 2, &n, &error_), 0);
  EXPECT_EQ(n, 2u);
  EXPECT_EQ(top[0].id, 1);
  EXPECT_EQ(top[1].id, 2);
  EXPECT_NEAR(top[0].log_probability, 3 - std::log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0)), 1e-12);
  ASSERT_EQ(gemma_top_log_probabilities(logits, 3, top, 5, &n, &error_), 0);
  EXPECT_EQ(n, 3u);
  EXPECT_EQ(gemma_top_log_probabilities(nullptr, 3, top, 5, &n, &error_), -1);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
}

TEST_F(CGeneration, MisuseIsAnError) {
  EXPECT_EQ(gemma_session_stream(nullptr, nullptr, nullptr, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  gemma_token token;
  EXPECT_EQ(gemma_stream_next(nullptr, &token, &error_), -1);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gemma_stream_get_result(nullptr, nullptr, &error_), -1);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  gemma_stream* early = gemma_session_stream(session_, nullptr, nullptr, &error_);
  ASSERT_NE(early, nullptr);
  EXPECT_EQ(gemma_stream_next(early, &token, &error_), -1) << "there is no prompt";
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  gemma_stream_free(early);
  gemma_stream_free(nullptr);
  EXPECT_EQ(gemma_session_get_tokens(nullptr, nullptr, 0, nullptr, &error_), -1);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace gemma::test
