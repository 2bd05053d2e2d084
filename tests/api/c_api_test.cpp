// The C interface: the same answers as from C++, structures of other sizes, and misuse, which must give
// errors and not crash.
#include "gemma/c_api.h"

#include <cstring>
#include <limits>
#include <memory>

#include <gtest/gtest.h>

#include "tests/api/c_session.hpp"
#include "tests/gemma/golden_models.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::test {
namespace {

class CApi : public CSession {
 protected:
  std::vector<std::int32_t> question() {
    const gemma_message messages[] = {{"system", "Be brief."}, {"user", "Where is the lighthouse?"}};
    return chat_ids(messages);
  }
};

TEST_F(CApi, SaysWhatTheCppInterfaceSays) {
  ASSERT_NE(session_, nullptr);
  const Model model = Model::load(demo_model());
  Session session(model);
  const std::vector<Message> turns = {{"system", "Be brief."}, {"user", "Where is the lighthouse?"}};
  const auto ids = model.encode_chat(turns, {.merge_system = true});
  EXPECT_EQ(question(), ids);
  session.prefill(ids);
  std::size_t reused = 99;
  ASSERT_EQ(gemma_session_prefill(session_, ids.data(), ids.size(), &reused, &error_), 0);
  EXPECT_EQ(reused, 0u);
  const float* logits = gemma_session_logits(session_, &error_);
  const float* hidden = gemma_session_hidden_state(session_, &error_);
  EXPECT_EQ(std::vector<float>(logits, logits + model.config().vocab_size), copied(session.logits()));
  EXPECT_EQ(std::vector<float>(hidden, hidden + model.config().d_model), copied(session.hidden_state()));

  Sampler sampler({.temperature = 0.8f, .seed = 3});
  const auto truth = session.generate(sampler, {.max_tokens = 15, .stop_strings = {"zzz"}});
  gemma_sampler_options how = GEMMA_SAMPLER_OPTIONS_INIT;
  how.temperature = 0.8f;
  how.seed = 3;
  gemma_sampler* c_sampler = gemma_sampler_new(&how, &error_);
  gemma_generate_options options = GEMMA_GENERATE_OPTIONS_INIT;
  const char* stops[] = {"zzz"};
  std::string text;
  options.max_tokens = 15;
  options.stop_strings = stops;
  options.n_stop_strings = 1;
  options.user = &text;
  options.on_token = [](const gemma_token* token, void* user) {
    EXPECT_EQ(std::strlen(token->text), token->text_length);
    *static_cast<std::string*>(user) += token->text;
    return 1;
  };
  gemma_generate_result result = GEMMA_GENERATE_RESULT_INIT;
  EXPECT_EQ(gemma_session_generate(session_, c_sampler, &options, &result, &error_), 0);
  gemma_sampler_free(c_sampler);
  EXPECT_EQ(text, truth.text);
  EXPECT_EQ(result.n_tokens, truth.tokens.size());
  EXPECT_EQ(result.reason, static_cast<int>(truth.reason));

  gemma_memory_plan plan = GEMMA_MEMORY_PLAN_INIT;
  EXPECT_EQ(gemma_model_plan(model_, nullptr, &plan, &error_), 0);
  EXPECT_EQ(plan.kv_bytes + plan.workspace_bytes, session.memory_bytes());
  EXPECT_EQ(error_, nullptr);
}

TEST_F(CApi, SnapshotsScoresAndTruncation) {
  const auto ids = question();
  ASSERT_EQ(gemma_session_prefill(session_, ids.data(), ids.size(), nullptr, &error_), 0);
  gemma_snapshot* prefix = gemma_session_snapshot(session_, &error_);
  double first[2], again[2];
  const std::int32_t continuation[] = {5, 6};
  EXPECT_EQ(gemma_session_score(session_, continuation, 2, first, &error_), 0);
  EXPECT_EQ(gemma_session_n_past(session_), ids.size() + 2);
  EXPECT_EQ(gemma_session_restore(session_, prefix, &error_), 0);
  gemma_snapshot_free(prefix);
  EXPECT_EQ(gemma_session_score(session_, continuation, 2, again, &error_), 0);
  EXPECT_EQ(first[0], again[0]);
  EXPECT_EQ(first[1], again[1]);
  EXPECT_EQ(gemma_session_truncate(session_, ids.size(), &error_), 0);
  EXPECT_EQ(gemma_session_truncate(session_, 10000, &error_), -1);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
}

TEST_F(CApi, SnapshotsGoToBytesAndBack) {
  const auto ids = question();
  ASSERT_EQ(gemma_session_set_tokens(session_, ids.data(), ids.size(), nullptr, &error_), 0);
  gemma_snapshot* snapshot = gemma_session_snapshot(session_, &error_);
  std::size_t n = 0, again = 0;
  ASSERT_EQ(gemma_snapshot_write(snapshot, model_, nullptr, 0, &n, &error_), 0);
  std::vector<std::byte> bytes(n);
  ASSERT_EQ(gemma_snapshot_write(snapshot, model_, bytes.data(), n, &again, &error_), 0);
  EXPECT_EQ(again, n);
  std::vector<std::byte> part(100);
  ASSERT_EQ(gemma_snapshot_write(snapshot, model_, part.data(), 100, &again, &error_), 0);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), bytes.begin()));
  gemma_snapshot_free(snapshot);
  double first[2], second[2];
  const std::int32_t continuation[] = {5, 6};
  EXPECT_EQ(gemma_session_score(session_, continuation, 2, first, &error_), 0);
  gemma_session_options other = GEMMA_SESSION_OPTIONS_INIT;
  other.n_ctx = 200;
  gemma_session* session = gemma_session_new(model_, &other, &error_);
  snapshot = gemma_snapshot_read(session, bytes.data(), n, &error_);
  ASSERT_NE(snapshot, nullptr);
  EXPECT_EQ(gemma_session_restore(session, snapshot, &error_), 0);
  gemma_snapshot_free(snapshot);
  EXPECT_EQ(gemma_session_score(session, continuation, 2, second, &error_), 0);
  EXPECT_EQ(first[0], second[0]);
  EXPECT_EQ(first[1], second[1]);
  EXPECT_EQ(gemma_snapshot_read(session, bytes.data(), n - 1, &error_), nullptr);
  why(GEMMA_ERROR_MALFORMED);
  gemma_session_free(session);
  for (const int type : {GEMMA_KV_F32, GEMMA_KV_Q8}) {
    other.kv_type = type;
    session = gemma_session_new(model_, &other, &error_);
    ASSERT_NE(session, nullptr);
    EXPECT_EQ(gemma_snapshot_read(session, bytes.data(), n, &error_), nullptr);
    why(GEMMA_ERROR_INVALID_ARGUMENT);
    gemma_session_free(session);
  }
  other.kv_type = 77;
  EXPECT_EQ(gemma_session_new(model_, &other, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
}

/// Several turns of a C caller: nothing of earlier turns is computed again.
TEST_F(CApi, ConversationsKeepTheIdsOfAnswers) {
  gemma_conversation* chat = gemma_conversation_new(model_, nullptr, &error_);
  ASSERT_NE(chat, nullptr);
  EXPECT_STREQ(gemma_conversation_get_note(chat), "");
  std::size_t before = 0;
  for (const char* said : {"Where is the lighthouse?", "Who keeps it?", "And now?"}) {
    ASSERT_EQ(gemma_conversation_add(chat, "user", said, nullptr, 0, &error_), 0);
    std::size_t n = 0, reused = 0;
    ASSERT_EQ(gemma_conversation_encode(chat, 0, nullptr, 0, &n, &error_), 0);
    std::vector<std::int32_t> ids(n);
    ASSERT_EQ(gemma_conversation_encode(chat, 0, ids.data(), n, &n, &error_), 0);
    ASSERT_EQ(gemma_session_set_tokens(session_, ids.data(), n, &reused, &error_), 0);
    EXPECT_EQ(reused, before);
    struct Heard {
      std::string text;
      std::vector<std::int32_t> ids;
    } heard;
    gemma_generate_options options = GEMMA_GENERATE_OPTIONS_INIT;
    options.max_tokens = 9;
    options.ignore_end = 1;
    options.user = &heard;
    options.on_token = [](const gemma_token* token, void* user) {
      auto* h = static_cast<Heard*>(user);
      h->text.append(token->text, token->text_length);
      if (token->id >= 0) h->ids.push_back(token->id);
      return 1;
    };
    ASSERT_EQ(gemma_session_generate(session_, nullptr, &options, nullptr, &error_), 0);
    before = n + heard.ids.size() - 1;  // nothing was computed after the last token
    ASSERT_EQ(gemma_conversation_add(chat, "assistant", heard.text.c_str(), heard.ids.data(),
                                     heard.ids.size(), &error_),
              0);
  }
  EXPECT_EQ(gemma_conversation_n_messages(chat), 6u);
  EXPECT_EQ(gemma_conversation_truncate(chat, 7, &error_), -1);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gemma_conversation_truncate(chat, 2, &error_), 0);
  EXPECT_EQ(gemma_conversation_n_messages(chat), 2u);
  const std::int32_t bad = -3;
  EXPECT_EQ(gemma_conversation_add(chat, "assistant", "x", &bad, 1, &error_), -1);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  gemma_conversation_free(chat);
  EXPECT_EQ(gemma_conversation_new(model_, "no such turns", &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  chat = gemma_conversation_new(model_, "chatml", &error_);
  ASSERT_NE(chat, nullptr);
  gemma_conversation_free(chat);
}

TEST_F(CApi, ASchedulerRunsManyRequests) {
  const auto ids = question();
  ASSERT_EQ(gemma_session_set_tokens(session_, ids.data(), ids.size(), nullptr, &error_), 0);
  std::string want;
  gemma_generate_options options = GEMMA_GENERATE_OPTIONS_INIT;
  options.max_tokens = 15;
  options.ignore_end = 1;
  options.user = &want;
  options.on_token = [](const gemma_token* token, void* user) {
    static_cast<std::string*>(user)->append(token->text, token->text_length);
    return 1;
  };
  ASSERT_EQ(gemma_session_generate(session_, nullptr, &options, nullptr, &error_), 0);
  options.on_token = nullptr;
  gemma_scheduler_options made = GEMMA_SCHEDULER_OPTIONS_INIT;
  made.max_sequences = 2;
  made.n_ctx = 200;
  made.draft = GEMMA_DRAFT_LOOKUP;
  gemma_scheduler* scheduler = gemma_scheduler_new(model_, &made, &error_);
  ASSERT_NE(scheduler, nullptr);
  gemma_answer* answers[5];
  for (gemma_answer*& a : answers) {
    a = gemma_scheduler_submit(scheduler, ids.data(), ids.size(), nullptr, &options, &error_);
    ASSERT_NE(a, nullptr);
  }
  gemma_answer_cancel(answers[4]);
  for (int i = 0; i < 4; ++i) {
    std::string text;
    gemma_token token;
    while (gemma_answer_next(answers[i], &token, -1, &error_) == GEMMA_ANSWER_TOKEN) {
      text.append(token.text, token.text_length);
    }
    EXPECT_EQ(text, want);
    gemma_generate_result result = GEMMA_GENERATE_RESULT_INIT;
    EXPECT_EQ(gemma_answer_wait(answers[i], &result, &error_), 0);
    EXPECT_EQ(result.n_tokens, 15u);
    EXPECT_EQ(gemma_answer_next(answers[i], &token, 0, &error_), GEMMA_ANSWER_END);
  }
  EXPECT_EQ(gemma_scheduler_submit(scheduler, nullptr, 0, nullptr, nullptr, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  gemma_scheduler_free(scheduler);
  gemma_generate_result result = GEMMA_GENERATE_RESULT_INIT;
  EXPECT_EQ(gemma_answer_wait(answers[4], &result, &error_), 0);
  for (gemma_answer* a : answers) gemma_answer_free(a);
}

TEST_F(CApi, GuessesChangeNoAnswer) {
  const auto ids = question();
  const auto ask = [&](gemma_session* session, int no_draft, gemma_generate_result& result) {
    std::vector<std::int32_t> said;
    gemma_generate_options options = GEMMA_GENERATE_OPTIONS_INIT;
    options.max_tokens = 60;
    options.ignore_end = 1;
    options.no_draft = no_draft;
    options.user = &said;
    options.on_token = [](const gemma_token* token, void* user) {
      static_cast<std::vector<std::int32_t>*>(user)->push_back(token->id);
      return 1;
    };
    EXPECT_EQ(gemma_session_set_tokens(session, ids.data(), ids.size(), nullptr, &error_), 0);
    EXPECT_EQ(gemma_session_generate(session, nullptr, &options, &result, &error_), 0);
    return said;
  };
  gemma_generate_result result = GEMMA_GENERATE_RESULT_INIT;
  const auto truth = ask(session_, 0, result);
  EXPECT_EQ(result.n_drafted, 0u);
  EXPECT_EQ(result.n_steps, 59u);
  gemma_session_options made = GEMMA_SESSION_OPTIONS_INIT;
  made.draft = GEMMA_DRAFT_LOOKUP;
  made.draft_tokens = 5;
  gemma_session* guessing = gemma_session_new(model_, &made, &error_);
  ASSERT_NE(guessing, nullptr);
  EXPECT_EQ(ask(guessing, 0, result), truth);
  EXPECT_EQ(result.n_steps + result.n_accepted, 59u);
  EXPECT_LE(result.n_accepted, result.n_drafted);
  EXPECT_EQ(ask(guessing, 1, result), truth);
  EXPECT_EQ(result.n_drafted, 0u);
  gemma_session_free(guessing);
  gemma_memory_plan plan = GEMMA_MEMORY_PLAN_INIT;
  EXPECT_EQ(gemma_model_plan(model_, &made, &plan, &error_), 0);
  EXPECT_GT(plan.draft_bytes, 0u);

  made.draft = GEMMA_DRAFT_MODEL;
  EXPECT_EQ(gemma_session_new(model_, &made, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  made.draft_model = model_;
  guessing = gemma_session_new(model_, &made, &error_);
  EXPECT_EQ(ask(guessing, 0, result), truth);
  gemma_session_free(guessing);
  made.draft = 7;
  EXPECT_EQ(gemma_session_new(model_, &made, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  gemma_scheduler_options many = GEMMA_SCHEDULER_OPTIONS_INIT;
  many.draft = 7;
  EXPECT_EQ(gemma_scheduler_new(model_, &many, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
}

TEST_F(CApi, OwnSamplersAndCancelling) {
  const auto ids = question();
  ASSERT_EQ(gemma_session_prefill(session_, ids.data(), ids.size(), nullptr, &error_), 0);
  gemma_generate_options options = GEMMA_GENERATE_OPTIONS_INIT;
  options.ignore_end = 1;
  int calls = 0;
  options.user = &calls;
  options.pick = [](const float*, std::size_t n, void* user) {
    return ++*static_cast<int*>(user) > 3 ? -1 : static_cast<std::int32_t>(n - 1);
  };
  EXPECT_EQ(gemma_session_generate(session_, nullptr, &options, nullptr, &error_), -1);
  EXPECT_NE(why(GEMMA_ERROR_INVALID_ARGUMENT).find("the pick callback returned a negative id"),
            std::string::npos);
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(gemma_session_n_past(session_), ids.size() + 3);
  gemma_session_cancel(session_);
  EXPECT_EQ(gemma_session_append(session_, ids.data(), 1, &error_), -1);
  why(GEMMA_ERROR_CANCELLED);
  gemma_session_clear_cancel(session_);
  EXPECT_EQ(gemma_session_append(session_, ids.data(), 1, &error_), 0);
}

TEST_F(CApi, TextOfAnyLength) {
  const std::string text("a\0b \xF0\x9F\x98\x80", 8);
  std::size_t n = 0;
  EXPECT_EQ(gemma_encode(model_, text.data(), text.size(), 0, nullptr, 0, &n, &error_), 0);
  std::vector<std::int32_t> ids(n + 1, -7);
  EXPECT_EQ(gemma_encode(model_, text.data(), text.size(), 0, ids.data(), n - 1, &n, &error_), 0);
  EXPECT_EQ(ids[n - 1], -7) << "no more than the capacity";
  EXPECT_EQ(gemma_encode(model_, text.data(), text.size(), 0, ids.data(), n, &n, &error_), 0);
  std::string back(100, '?');
  EXPECT_EQ(gemma_decode(model_, ids.data(), n, back.data(), back.size(), &n, &error_), 0);
  EXPECT_EQ(back.substr(0, n), text);
  EXPECT_EQ(gemma_model_is_end(model_, -5), 0);
}

// Added fields begin after the end of the structures of older callers, including their padding: `size` does
// not tell which bytes are padding, and callers do not initialise padding.
static_assert(offsetof(gemma_session_options, draft_tokens) >= 56);    // n_ctx .. kv_type
static_assert(offsetof(gemma_scheduler_options, draft_tokens) >= 56);  // max_sequences .. kv_type
static_assert(offsetof(gemma_generate_options, grammar) >= 72);        // max_tokens .. process
static_assert(offsetof(gemma_generate_result, n_steps) >= 40);         // n_tokens .. first_token_seconds
static_assert(offsetof(gemma_model_options, adapters) >= 24);          // isa, window
static_assert(offsetof(gemma_memory_plan, draft_bytes) >= 48);         // file_bytes .. n_ctx

TEST_F(CApi, StructuresOfOlderAndNewerCallers) {
  // a caller compiled when n_ctx was the last field: later fields must not be read
  gemma_session_options older = GEMMA_SESSION_OPTIONS_INIT;
  older.size = offsetof(gemma_session_options, chunk);
  older.n_ctx = 77;
  older.max_memory = 1;  // beyond `size`: not read
  gemma_session* s = gemma_session_new(model_, &older, &error_);
  ASSERT_NE(s, nullptr);
  EXPECT_EQ(gemma_session_n_ctx(s), 77u);
  gemma_session_free(s);
  // a newer caller, whose structure ends in fields that this library does not know
  struct {
    gemma_model_info info = GEMMA_MODEL_INFO_INIT;
    std::int64_t later = 42;
  } newer;
  newer.info.size = sizeof newer;
  EXPECT_EQ(gemma_model_get_info(model_, &newer.info, &error_), 0);
  EXPECT_EQ(newer.later, 42);
  EXPECT_EQ(newer.info.size, sizeof newer);
  EXPECT_GT(newer.info.vocab_size, 0u);
  older.size = 0;
  EXPECT_EQ(gemma_session_new(model_, &older, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
}

TEST_F(CApi, ThePlanIsKeptToTheByteAndSoIsACap) {
  gemma_session_options options = GEMMA_SESSION_OPTIONS_INIT;
  options.n_ctx = 300;
  options.chunk = 16;
  options.n_threads = 1;
  gemma_memory_plan plan = GEMMA_MEMORY_PLAN_INIT;
  ASSERT_EQ(gemma_model_plan(model_, &options, &plan, &error_), 0);
  const Model model = Model::load(demo_model());
  const Session same(model, {.n_ctx = 300, .chunk = 16, .n_threads = 1});
  EXPECT_EQ(plan.kv_bytes + plan.workspace_bytes, same.memory_bytes());
  EXPECT_EQ(plan.token_bytes, 300 * sizeof(std::int32_t));
  EXPECT_EQ(plan.file_bytes, model.file().size_bytes());
  const std::size_t total = plan.file_bytes + plan.kv_bytes + plan.workspace_bytes + plan.token_bytes;
  options.max_memory = total;
  gemma_session* s = gemma_session_new(model_, &options, &error_);
  EXPECT_NE(s, nullptr) << gemma_error_get_message(error_);
  gemma_session_free(s);
  options.max_memory = total - 1;
  EXPECT_EQ(gemma_session_new(model_, &options, &error_), nullptr);
  EXPECT_NE(why(GEMMA_ERROR_OUT_OF_MEMORY).find("the largest that fits is "), std::string::npos);
  EXPECT_EQ(gemma_model_plan(model_, &options, &plan, &error_), -1);
  why(GEMMA_ERROR_OUT_OF_MEMORY);
  options.n_ctx = 0;  // 0: the largest context that fits
  ASSERT_EQ(gemma_model_plan(model_, &options, &plan, &error_), 0);
  EXPECT_EQ(plan.n_ctx, 299u);  // caches are allocated in blocks of positions, but the list of tokens is not
}

TEST_F(CApi, TokenIdsOutsideTheVocabulary) {
  gemma_model_info info = GEMMA_MODEL_INFO_INIT;
  ASSERT_EQ(gemma_model_get_info(model_, &info, &error_), 0);
  const auto prompt = question();
  ASSERT_EQ(gemma_session_prefill(session_, prompt.data(), prompt.size(), nullptr, &error_), 0);
  for (const std::int32_t bad :
       {-1, static_cast<std::int32_t>(info.vocab_size), std::numeric_limits<std::int32_t>::max(),
        std::numeric_limits<std::int32_t>::min()}) {
    const std::int32_t ids[] = {5, bad};
    const std::string named = "token id " + std::to_string(bad);
    double scores[2];
    char text[8];
    std::size_t n = 0;
    EXPECT_EQ(gemma_session_append(session_, ids, 2, &error_), -1);
    EXPECT_NE(why(GEMMA_ERROR_INVALID_ARGUMENT).find(named), std::string::npos);
    EXPECT_EQ(gemma_session_prefill(session_, ids, 2, nullptr, &error_), -1);
    EXPECT_NE(why(GEMMA_ERROR_INVALID_ARGUMENT).find(named), std::string::npos);
    EXPECT_EQ(gemma_session_score(session_, ids, 2, scores, &error_), -1);
    EXPECT_NE(why(GEMMA_ERROR_INVALID_ARGUMENT).find(named), std::string::npos);
    EXPECT_EQ(gemma_decode(model_, ids, 2, text, sizeof text, &n, &error_), -1);
    EXPECT_NE(why(GEMMA_ERROR_INVALID_ARGUMENT).find(named), std::string::npos);
    EXPECT_EQ(gemma_model_is_end(model_, bad), 0);
    gemma_generate_options options = GEMMA_GENERATE_OPTIONS_INIT;
    std::int32_t chosen = bad;
    options.user = &chosen;
    options.pick = [](const float*, std::size_t, void* user) { return *static_cast<std::int32_t*>(user); };
    EXPECT_EQ(gemma_session_generate(session_, nullptr, &options, nullptr, &error_), -1);
    why(GEMMA_ERROR_INVALID_ARGUMENT);
  }
  EXPECT_EQ(gemma_session_n_past(session_), prompt.size());
  EXPECT_NE(gemma_session_logits(session_, &error_), nullptr);
}

/// Malformed model files in a C program.
TEST_F(CApi, ModelsThatLie) {
  const TemporaryFolder folder;
  Shape shape;
  ModelFile file = make_model(shape);
  // without a vocabulary, the model runs on ids, and its sizes are known
  gemma_model* m = gemma_model_load(folder.write("ids.gguf", file.bytes()).c_str(), nullptr, &error_);
  ASSERT_NE(m, nullptr);
  gemma_model_info info = GEMMA_MODEL_INFO_INIT;
  EXPECT_EQ(gemma_model_get_info(m, &info, &error_), 0);
  EXPECT_EQ(info.vocab_size, shape.vocab_size);
  EXPECT_EQ(info.bos, -1);
  EXPECT_EQ(info.eos, -1);
  EXPECT_EQ(gemma_model_is_end(m, 1), 0);
  const gemma_message hello{"user", "hello"};
  std::size_t n = 0;
  EXPECT_EQ(gemma_encode_chat(m, &hello, 1, nullptr, 0, &n, &error_), -1);
  EXPECT_NE(why(GEMMA_ERROR_MISSING_KEY).find("'tokenizer.ggml.model'"), std::string::npos);
  gemma_model_free(m);

  file.set("llama.attention.head_count", std::uint32_t{0});
  EXPECT_EQ(gemma_model_load(folder.write("heads.gguf", file.bytes()).c_str(), nullptr, &error_), nullptr);
  EXPECT_NE(why(GEMMA_ERROR_MALFORMED).find("key 'llama.attention.head_count' is 0"), std::string::npos);

  // weights that are NaN: reported when a token is chosen, by the library or by a callback
  file = make_model(shape);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(file.tensor("blk.0.attn_v.weight").data.data(), &nan, sizeof nan);
  m = gemma_model_load(folder.write("nan.gguf", file.bytes()).c_str(), nullptr, &error_);
  ASSERT_NE(m, nullptr);
  gemma_session_options options = GEMMA_SESSION_OPTIONS_INIT;
  options.n_ctx = 8;
  gemma_session* s = gemma_session_new(m, &options, &error_);
  gemma_sampler* greedy = gemma_sampler_new(nullptr, &error_);
  const std::int32_t ids[] = {1, 2, 3};
  ASSERT_EQ(gemma_session_prefill(s, ids, 3, nullptr, &error_), 0);
  const float* logits = gemma_session_logits(s, &error_);
  EXPECT_EQ(gemma_sampler_sample(greedy, logits, shape.vocab_size, &error_), -1);
  why(GEMMA_ERROR_NOT_FINITE);
  double scores[3];
  EXPECT_EQ(gemma_session_score(s, ids, 3, scores, &error_), -1);
  why(GEMMA_ERROR_NOT_FINITE);
  gemma_sampler_free(greedy);
  gemma_session_free(s);
  gemma_model_free(m);
}

TEST_F(CApi, AdaptersChangeAModel) {
  const TemporaryFolder folder;
  const auto lora = [&](const std::string& architecture) {
    const Model model = Model::load(demo_model());
    const TensorView& q = model.file().tensor("blk.0.attn_q.weight");
    ModelFile file;
    file.set("general.type", "adapter").set("general.architecture", architecture);
    file.add_floats("blk.0.attn_q.weight.lora_a", {1, q.cols}, std::vector<float>(q.cols, 0.02f));
    file.add_floats("blk.0.attn_q.weight.lora_b", {q.rows, 1}, std::vector<float>(q.rows, 0.5f));
    return folder.write(architecture + ".gguf", file.bytes());
  };
  const std::string path = lora(Model::load(demo_model()).config().architecture);
  const auto logits = [&](std::vector<const char*> paths, const float* scales) {
    gemma_model_options options = GEMMA_MODEL_OPTIONS_INIT;
    options.adapters = paths.data();
    options.n_adapters = paths.size();
    options.adapter_scales = scales;
    gemma_model* m = gemma_model_load(demo_model().c_str(), &options, &error_);
    gemma_session* s = gemma_session_new(m, nullptr, &error_);
    EXPECT_NE(s, nullptr);
    const std::int32_t ids[] = {1, 2, 3};
    EXPECT_EQ(gemma_session_set_tokens(s, ids, 3, nullptr, &error_), 0);
    gemma_model_info info = GEMMA_MODEL_INFO_INIT;
    gemma_model_get_info(m, &info, &error_);
    const float* row = gemma_session_logits(s, &error_);
    std::vector<float> out(row, row + info.vocab_size);
    gemma_session_free(s);
    gemma_model_free(m);
    return out;
  };
  const float halves[] = {0.5f, 0.5f}, none = 0;
  const auto plain = logits({}, nullptr), once = logits({path.c_str()}, nullptr);
  EXPECT_NE(once, plain);
  EXPECT_EQ(logits({path.c_str()}, &none), plain);
  EXPECT_LT(nmse(logits({path.c_str(), path.c_str()}, halves), once), 1e-9);

  gemma_model_options options = GEMMA_MODEL_OPTIONS_INIT;
  const char* paths[] = {nullptr};
  options.adapters = paths;
  options.n_adapters = 1;
  EXPECT_EQ(gemma_model_load(demo_model().c_str(), &options, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  const std::string other = lora("bert");
  paths[0] = other.c_str();
  EXPECT_EQ(gemma_model_load(demo_model().c_str(), &options, &error_), nullptr);
  EXPECT_NE(why(GEMMA_ERROR_UNSUPPORTED).find("bert"), std::string::npos);
}

TEST_F(CApi, MisuseIsAnError) {
  EXPECT_EQ(gemma_model_load(nullptr, nullptr, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gemma_model_load("no/such.gguf", nullptr, nullptr), nullptr) << "nobody wants to know more";
  EXPECT_EQ(gemma_model_load("no/such.gguf", nullptr, &error_), nullptr);
  EXPECT_NE(why(GEMMA_ERROR_IO).find("no/such.gguf"), std::string::npos);
  gemma_model_options options = GEMMA_MODEL_OPTIONS_INIT;
  options.isa = "abacus";
  EXPECT_EQ(gemma_model_load(demo_model().c_str(), &options, &error_), nullptr);
  EXPECT_NE(why(GEMMA_ERROR_INVALID_ARGUMENT).find("abacus"), std::string::npos);
  EXPECT_EQ(gemma_session_new(nullptr, nullptr, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gemma_session_prefill(session_, nullptr, 3, nullptr, &error_), -1);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gemma_session_logits(session_, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  const std::int32_t id = 5;
  EXPECT_EQ(gemma_decode(model_, &id, 1, nullptr, 10, nullptr, &error_), -1);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(gemma_sampler_sample(nullptr, nullptr, 0, &error_), -1);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  gemma_sampler_options how = GEMMA_SAMPLER_OPTIONS_INIT;
  how.top_p = 2;
  EXPECT_EQ(gemma_sampler_new(&how, &error_), nullptr);
  why(GEMMA_ERROR_INVALID_ARGUMENT);
  gemma_model_free(nullptr);
  gemma_session_free(nullptr);
  gemma_sampler_free(nullptr);
  gemma_snapshot_free(nullptr);
  gemma_session_cancel(nullptr);
  EXPECT_STREQ(gemma_error_get_message(nullptr), "");
  EXPECT_STREQ(gemma_version(), GEMMA_VERSION_STRING);
}

class CEmbeddings : public testing::Test {
 public:
  ~CEmbeddings() override {
    gemma_model_free(model_);
    gemma_error_free(error_);
  }

 protected:
  int embed(const gemma_embed_options* options, std::vector<float>& out) {
    std::size_t n = 0;
    if (gemma_embed(model_, texts_, 3, options, nullptr, 0, &n, &error_) != 0) return -1;
    out.assign(n, -7.0f);
    return gemma_embed(model_, texts_, 3, options, out.data(), n, &n, &error_);
  }

  gemma_error* error_ = nullptr;
  gemma_model* model_ = gemma_model_load(golden_model("nano-embedding.F32").c_str(), nullptr, &error_);
  const gemma_text texts_[3] = {{"t5 t6", 5}, {nullptr, 0}, {"a\0b and more", 3}};
};

TEST_F(CEmbeddings, AreWhatTheCppInterfaceGives) {
  ASSERT_NE(model_, nullptr);
  gemma_model_info info GEMMA_MODEL_INFO_INIT;
  ASSERT_EQ(gemma_model_get_info(model_, &info, &error_), 0);
  EXPECT_EQ(info.embedding_width, 64u);
  EXPECT_EQ(info.has_head, 0);
  const Model model = Model::load(golden_model("nano-embedding.F32"));
  const std::vector<std::string> texts = {"t5 t6", "", std::string("a\0b", 3)};
  std::vector<float> out;
  ASSERT_EQ(embed(nullptr, out), 0);
  ASSERT_EQ(out.size(), 3 * 64u);
  const auto want = model.embed(texts);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(copied(std::span<const float>(out).subspan(i * 64, 64)), want[i]);

  gemma_embed_options options GEMMA_EMBED_OPTIONS_INIT;
  options.dims = 10;
  options.prompt = GEMMA_EMBED_QUERY;
  options.pooling = GEMMA_POOLING_LAST;
  options.n_threads = 1;
  ASSERT_EQ(embed(&options, out), 0);
  ASSERT_EQ(out.size(), 30u);
  const auto cut = model.embed(texts, EmbedPrompt::kQuery, {.pooling = Pooling::kLast, .dims = 10});
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(copied(std::span<const float>(out).subspan(i * 10, 10)), cut[i]);
}

TEST_F(CEmbeddings, TooLittleRoomComputesNothing) {
  std::vector<float> out(100, -7.0f);
  std::size_t n = 0;
  ASSERT_EQ(gemma_embed(model_, texts_, 3, nullptr, out.data(), 100, &n, &error_), 0);
  EXPECT_EQ(n, 3 * 64u);
  EXPECT_EQ(out, std::vector<float>(100, -7.0f));
}

TEST_F(CEmbeddings, MisuseIsAnError) {
  std::vector<float> out;
  std::size_t n = 0;
  gemma_embed_options options GEMMA_EMBED_OPTIONS_INIT;
  const auto fails = [&](int code) {
    EXPECT_EQ(embed(&options, out), -1);
    ASSERT_NE(error_, nullptr);
    EXPECT_EQ(gemma_error_get_code(error_), code) << gemma_error_get_message(error_);
    gemma_error_free(error_);
    error_ = nullptr;
    options = GEMMA_EMBED_OPTIONS_INIT;
  };
  options.dims = 65;
  fails(GEMMA_ERROR_INVALID_ARGUMENT);
  options.prompt = 3;
  fails(GEMMA_ERROR_INVALID_ARGUMENT);
  options.pooling = -1;
  fails(GEMMA_ERROR_INVALID_ARGUMENT);
  options.n_ctx = 3;
  fails(GEMMA_ERROR_CONTEXT_FULL);
  options.n_ctx = 3;
  options.truncate = 1;
  EXPECT_EQ(embed(&options, out), 0);
  EXPECT_EQ(gemma_embed(nullptr, texts_, 3, nullptr, nullptr, 0, &n, nullptr), -1);
  EXPECT_EQ(gemma_embed(model_, nullptr, 3, nullptr, nullptr, 0, &n, nullptr), -1);
  EXPECT_EQ(gemma_embed(model_, texts_, 3, nullptr, nullptr, 0, nullptr, nullptr), -1);
  EXPECT_EQ(gemma_embed(model_, texts_, 3, nullptr, nullptr, 5, &n, nullptr), -1);
  EXPECT_EQ(gemma_embed(model_, nullptr, 0, nullptr, nullptr, 0, &n, nullptr), 0);
  EXPECT_EQ(gemma_session_new(model_, nullptr, &error_), nullptr);
  EXPECT_EQ(gemma_error_get_code(error_), GEMMA_ERROR_UNSUPPORTED);
}

}  // namespace
}  // namespace gemma::test
