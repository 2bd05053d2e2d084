// Saved sequences: the same bits after reading, and an error for damaged or truncated bytes.
#include "gemma/session_file.hpp"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gemma/batch.hpp"
#include "gemma/checksum.hpp"
#include "gemma/session.hpp"
#include "tests/gemma/model_file.hpp"
#include "tests/gemma/run.hpp"

namespace gemma::test {
namespace {

using Bytes = std::vector<std::byte>;
using Ids = std::vector<std::int32_t>;

Shape sliding(std::size_t n_layers = 7) {
  Shape s;
  s.architecture = "gemma3";
  s.n_layers = n_layers;
  s.window = 8;
  s.vocabulary = true;
  return s;
}

Bytes written(const Snapshot& snapshot, const Model& model) {
  Bytes out;
  write_snapshot(snapshot, model,
                 [&](std::span<const std::byte> part) { out.insert(out.end(), part.begin(), part.end()); });
  return out;
}

/// The code of the error when `bytes` are read; kIo if there is none.
ErrorCode code_of_reading(std::span<const std::byte> bytes, const Model& model,
                          const KvCacheOptions& options) {
  try {
    read_snapshot(bytes, model, options, "a.session");
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.message()).find("a.session"), std::string::npos) << e.message();
    return e.code();
  }
  return ErrorCode::kIo;
}

class SessionFiles : public testing::Test {
 protected:
  MemoryModel model_{make_model(sliding())};
  std::size_t vocab_ = model_->config().vocab_size;
  Ids ids_ = random_tokens(150, vocab_, 1);
  const SessionOptions options_{.n_ctx = 300, .chunk = 40, .n_threads = 1};

  Bytes saved() const {
    Session s(*model_, options_);
    s.set_tokens(ids_);
    return written(s.snapshot(), *model_);
  }
};

TEST_F(SessionFiles, GoOnWithTheSameBits) {
  const Bytes bytes = saved();
  const Ids more = random_tokens(60, vocab_, 2);
  for (const std::size_t n_ctx : {300, 250}) {
    for (const std::size_t chunk : {40, 7, 250}) {
      Session s(*model_, {.n_ctx = n_ctx, .chunk = chunk, .n_threads = 2});
      s.restore(read_snapshot(bytes, *model_, s.kv_options(), "a.session"));
      EXPECT_EQ(Ids(s.tokens().begin(), s.tokens().end()), ids_);
      auto whole = ids_;
      auto truth = all_logits(*model_, whole);
      EXPECT_TRUE(std::equal(s.logits().begin(), s.logits().end(),
                             truth.end() - static_cast<std::ptrdiff_t>(vocab_)));
      s.append(more);
      whole.insert(whole.end(), more.begin(), more.end());
      truth = all_logits(*model_, whole);
      EXPECT_TRUE(std::equal(s.logits().begin(), s.logits().end(),
                             truth.end() - static_cast<std::ptrdiff_t>(vocab_)));
    }
  }
}

TEST_F(SessionFiles, OfKeysAndValuesOf8Bits) {
  const SessionOptions options{.n_ctx = 300, .kv_type = KvType::kQ8, .chunk = 40, .n_threads = 1};
  Session s(*model_, options);
  s.set_tokens(ids_);
  const Bytes bytes = written(s.snapshot(), *model_);
  EXPECT_LT(bytes.size(), saved().size() * 3 / 4);  // half of the bytes are keys and values
  Session t(*model_, options);
  t.restore(read_snapshot(bytes, *model_, t.kv_options(), "a.session"));
  s.append(std::span(ids_).first(9));
  t.append(std::span(ids_).first(9));
  EXPECT_TRUE(std::equal(s.logits().begin(), s.logits().end(), t.logits().begin()));
  EXPECT_EQ(code_of_reading(bytes, *model_, {.n_ctx = 300, .type = KvType::kF16, .max_chunk = 40}),
            ErrorCode::kInvalidArgument);
}

TEST_F(SessionFiles, ServeABatch) {
  Batch batch(*model_, {.max_sequences = 2, .n_ctx = 300, .chunk = 64, .n_threads = 1});
  batch.remember(read_snapshot(saved(), *model_, batch.kv_options(), "a.session"));
  Ids prompt = ids_;
  prompt.push_back(5);
  const auto id = batch.add(prompt, argmax, {.max_tokens = 5, .ignore_end = true});
  batch.run();
  EXPECT_EQ(batch.stats().n_reused, 150u);
  Session s(*model_, options_);
  s.set_tokens(prompt);
  EXPECT_EQ(batch.take(id).tokens, s.generate(argmax, {.max_tokens = 5, .ignore_end = true}).tokens);
}

TEST_F(SessionFiles, OfASequenceThatWaitsOrIsEmpty) {
  Session s(*model_, options_);
  EXPECT_TRUE(read_snapshot(written(s.snapshot(), *model_), *model_, s.kv_options(), "a").tokens().empty());
  s.set_tokens(ids_);
  const Ids said = s.generate(argmax, {.max_tokens = 5, .ignore_end = true}).tokens;
  ASSERT_EQ(s.n_computed() + 1, s.n_past());
  const Bytes bytes = written(s.snapshot(), *model_);
  Session t(*model_, options_);
  t.restore(read_snapshot(bytes, *model_, t.kv_options(), "a.session"));
  EXPECT_EQ(t.n_past(), s.n_past());
  EXPECT_TRUE(std::equal(s.logits().begin(), s.logits().end(), t.logits().begin()));
}

TEST_F(SessionFiles, CutAnywhereAreAnError) {
  const Bytes bytes = saved();
  const std::size_t header = 64 + 2 * 32 + 8;
  for (std::size_t n = 0; n < bytes.size(); n += n < header + 64 ? 1 : 997) {
    ASSERT_EQ(code_of_reading(std::span(bytes).first(n), *model_, {.n_ctx = 300, .max_chunk = 40}),
              ErrorCode::kMalformed)
        << n;
  }
  Bytes longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_EQ(code_of_reading(longer, *model_, {.n_ctx = 300, .max_chunk = 40}), ErrorCode::kMalformed);
}

TEST_F(SessionFiles, ChangedAnywhereAreAnError) {
  const Bytes bytes = saved();
  for (std::size_t i = 0; i < bytes.size(); i += i < 300 ? 1 : 1009) {
    Bytes bad = bytes;
    bad[i] ^= std::byte{0x41};
    ASSERT_NE(code_of_reading(bad, *model_, {.n_ctx = 300, .max_chunk = 40}), ErrorCode::kIo) << i;
  }
}

/// Wrong numbers in a header with a correct checksum, as an attacker would write them.
TEST_F(SessionFiles, HostileNumbersAreAnErrorAndTakeNoMemory) {
  const Bytes bytes = saved();
  const std::size_t header = 64 + 2 * 32;
  for (std::size_t field = 8; field < header; field += field < 16 ? 4 : 8) {
    for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{149},
                                      std::uint64_t{1} << 31, std::uint64_t{1} << 62, ~std::uint64_t{0}}) {
      Bytes bad = bytes;
      std::memcpy(bad.data() + field, &value, field < 16 ? 4 : 8);
      if (bad == bytes) continue;
      detail::Checksum sum;
      sum.add(std::span(bad).first(header));
      const std::uint64_t right = sum.value();
      std::memcpy(bad.data() + header, &right, 8);
      ASSERT_NE(code_of_reading(bad, *model_, {.n_ctx = 300, .max_chunk = 40}), ErrorCode::kIo)
          << field << " " << value;
    }
  }
}

TEST_F(SessionFiles, OfAnotherModelOrOptionsAreTold) {
  const Bytes bytes = saved();
  const MemoryModel other(make_model(sliding(8)));
  EXPECT_EQ(code_of_reading(bytes, *other, {.n_ctx = 300, .max_chunk = 40}), ErrorCode::kInvalidArgument);
  ModelFile changed = make_model(sliding());
  Bytes file = changed.bytes();
  file[file.size() - 2000] ^= std::byte{1};  // one bit of one weight
  const Model weights = Model::from(gguf::File::from_memory(file, "changed.gguf"));
  EXPECT_NE(weights.fingerprint(), model_->fingerprint());
  EXPECT_EQ(code_of_reading(bytes, weights, {.n_ctx = 300, .max_chunk = 40}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of_reading(bytes, *model_, {.n_ctx = 300, .type = KvType::kF32, .max_chunk = 40}),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of_reading(bytes, *model_, {.n_ctx = 149, .max_chunk = 40}), ErrorCode::kInvalidArgument);
}

TEST(Checksum, DoesNotDependOnHowBytesAreCut) {
  Bytes bytes(1000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37 % 251);
  detail::Checksum whole;
  whole.add(bytes);
  for (const std::size_t piece : {1, 3, 8, 13, 64, 999}) {
    detail::Checksum sum;
    for (std::size_t i = 0; i < bytes.size(); i += piece) {
      sum.add(std::span(bytes).subspan(i, std::min(piece, bytes.size() - i)));
    }
    EXPECT_EQ(sum.value(), whole.value()) << piece;
  }
  detail::Checksum shorter;
  shorter.add(std::span(bytes).first(999));
  EXPECT_NE(shorter.value(), whole.value());
}

}  // namespace
}  // namespace gemma::test
