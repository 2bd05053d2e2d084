// Tokens that are guessed and then verified several at a time: speculative decoding (Leviathan et al. 2023)
// without its sampling rule. One forward pass computes the last token and the guesses after it. Each token is
// then chosen from its own row of logits exactly as without guesses, and a row is used if the token before it
// was guessed right.
// Invariant: rows have the same bits as in single steps (law 1), so answers are the same; everything is
// allocated when an engine or a generation is made.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "options.hpp"

namespace gemma {

/// One sequence to draft for: its tokens, and where guesses are written.
struct DraftQuery {
  std::size_t slot = 0;                       // index of the drafter's sequence
  std::span<const std::int32_t> tokens = {};  // all tokens of the sequence; at least one
  std::span<std::int32_t> guesses = {};       // output, filled from the front with ids of the vocabulary
  std::size_t n = 0;                          // output: number of guesses; 0: none
  unsigned kind = 0;                          // output: kind of the guesses, below DraftLength::kKinds
};

/// Guesses the next tokens of sequences. Used by one thread at a time.
class Drafter {
 public:
  Drafter() = default;
  Drafter(const Drafter&) = delete;
  Drafter& operator=(const Drafter&) = delete;
  virtual ~Drafter() = default;

  /// Answers queries, each for a different slot. The tokens of a query continue those of the slot's last
  /// query, unless begin() was called in between. Allocates nothing. `cancel`: as in Model::forward().
  virtual void guess(std::span<DraftQuery> queries, const std::atomic<bool>* cancel) = 0;
  /// Replaces the sequence of a slot by these tokens, which may share any number of tokens with the old ones.
  virtual void begin(std::size_t slot, std::span<const std::int32_t> tokens) noexcept = 0;
  /// The time to guess one token, as a fraction of a step of the verifying model; 0: negligible.
  virtual double cost() const noexcept { return 0; }
  /// DraftQuery::kind of guesses that a model computed, which takes time.
  static constexpr unsigned kCostlyKind = 3;
  /// Memory held by the drafter, in bytes.
  virtual std::size_t size_bytes() const noexcept { return 0; }
};

/// Guesses the tokens that followed an earlier occurrence of the last tokens: of the latest positions where
/// the last two tokens occurred, the one where most tokens before them agree as well (prompt lookup, Saxena
/// 2023). The positions are chained by a hash of two tokens, as in LZ77 compressors: a new token adds one
/// link, a dropped token removes one, and a guess follows at most kMostPlaces.
class PromptLookup final : public Drafter {
 public:
  static constexpr std::size_t kMostPlaces = 32;  // maximum number of positions compared for a guess
  static constexpr std::size_t kLongest = 32;     // maximum number of tokens compared at each position

  /// Allocates size_bytes_for() bytes. Throws std::bad_alloc.
  PromptLookup(std::size_t n_slots, std::size_t n_ctx);
  /// Bytes for n_slots sequences of n_ctx tokens: 12 to 16 per token.
  static std::size_t size_bytes_for(std::size_t n_slots, std::size_t n_ctx) noexcept;

  void guess(std::span<DraftQuery> queries, const std::atomic<bool>* cancel) override;
  void begin(std::size_t slot, std::span<const std::int32_t> tokens) noexcept override;
  std::size_t size_bytes() const noexcept override;

 private:
  struct Slot {
    std::vector<std::int32_t> tokens;     // [n_ctx]
    std::vector<std::uint32_t> previous;  // [n_ctx]: the preceding position with the same hash; 0: none
    std::vector<std::uint32_t> latest;    // indexed by hash: the last position; 0: none
    std::size_t n = 0;                    // number of tokens
  };
  /// The entry of `latest` for the two tokens that end at i.
  static std::uint32_t& latest(Slot& s, std::size_t i) noexcept;
  static void add(Slot& s, std::span<const std::int32_t> tokens) noexcept;
  static void guess(const Slot& s, DraftQuery& q) noexcept;

  std::vector<Slot> slots_;
};

/// Decides how many guesses save more time than their rows cost, from how often guesses of the same kind
/// were right.
/// Deterministic: the same answers give the same lengths.
class DraftLength {
 public:
  static constexpr std::size_t kKinds = 6;  // by the number of tokens that agreed: from 2, 3, 4, 6, 10, 18 on
  /// Estimated time that one more row adds to a step of one token, as a fraction: a compromise, since 0.1 to
  /// 0.3 are measured (docs/drafts.md; two cores of Zen 3 take 0.2 to 0.3 for gemma-2b Q4_K_M).
  static constexpr double kRowCost = 0.15;

  /// A decode step, as planned so far.
  struct Step {
    double tokens = 1;  // expected number of tokens that it gives
    double time = 1;    // its time; a step of one row takes 1
    /// A step of n sequences with one row each.
    static Step of(std::size_t n) noexcept {
      const auto rows = static_cast<double>(n);
      return {rows, 1 + kRowCost * (rows - 1)};
    }
  };

  /// The kind of a guess that follows n_agreed tokens equal to earlier ones.
  static unsigned kind(std::size_t n_agreed) noexcept;
  /// How many of at most n guesses increase the tokens per time of the step; they are added to it. `cost`:
  /// Drafter::cost().
  std::size_t worth(unsigned kind, std::size_t n, Step& step, double cost = 0) const noexcept;
  /// Records whether a guess of this kind was the token chosen.
  void compared(unsigned kind, bool right) noexcept {
    right_[kind] += ((right ? 1.0 : 0.0) - right_[kind]) * kRate;
  }
  /// Records a step without a guess of this kind, which costs time: after enough of them it is tried again.
  void rest(unsigned kind) noexcept { right_[kind] += (kAtFirst[kind] - right_[kind]) * (kRate / 8); }

 private:
  static constexpr double kRate = 0.2;  // weight of the last guess
  static constexpr std::array<double, kKinds> kAtFirst = {0.25, 0.4, 0.55, 0.7, 0.8, 0.9};

  std::array<double, kKinds> right_ = kAtFirst;  // fraction of guesses that were right
};

namespace detail {

/// The guesses of one generation, from the query until a chosen token differs from its guess.
class Guesses {
 public:
  /// `most`: maximum number of guesses per step; 0: none. Throws std::bad_alloc.
  explicit Guesses(std::size_t most) : tokens_(most == 0 ? 0 : most + 1) {}

  /// Whether drafting is enabled for this generation.
  bool enabled() const noexcept { return !tokens_.empty(); }
  /// Makes the query for the tokens after the sequence, whose last token is not computed yet; at most n
  /// guesses will have rows. `step`: the step, as planned so far.
  DraftQuery query(Drafter& drafter, std::size_t slot, std::span<const std::int32_t> tokens, std::size_t n,
                   const DraftLength::Step& step);
  /// Takes the answer to the query: the first guesses that are possible and worth their time in this step, at
  /// most n, get rows. `possible(id)` tells whether a token is possible.
  template <typename F>
  void take(const DraftQuery& q, std::size_t n, DraftLength::Step& step, double cost, F possible) noexcept {
    kind_ = std::min<unsigned>(q.kind, DraftLength::kKinds - 1);
    for (n_ = 0; n_ < std::min(q.n, q.guesses.size()) && possible(q.guesses[n_]);) ++n_;
    n_rows_ = length_.worth(kind_, std::min(n, n_), step, cost);
  }
  /// Drops all guesses.
  void clear() noexcept {
    n_ = n_rows_ = next_ = 0;
    right_ = false;
  }

  /// Number of guesses that have a row in the forward pass.
  std::size_t size() const noexcept { return n_rows_; }
  /// The tokens of one forward pass: the waiting token and the guesses after it that have a row.
  std::span<const std::int32_t> rows() const noexcept { return std::span(tokens_).first(1 + n_rows_); }
  /// Compares the token that was chosen from the last valid row with the guess for its position.
  void compare(std::int32_t chosen) noexcept;
  /// Whether the chosen token was the next guess and has a row, which is valid now.
  bool right() const noexcept { return right_; }
  /// How many of rows() are valid: the waiting token's, and those of guesses that were right.
  std::size_t n_right() const noexcept { return 1 + next_; }

 private:
  DraftLength length_;
  std::vector<std::int32_t> tokens_;  // the waiting token, then guesses
  std::size_t n_ = 0;                 // guesses to compare, with or without a row
  std::size_t n_rows_ = 0;            // guesses with a row
  std::size_t next_ = 0;              // index of the next guess to compare
  std::size_t n_known_ = 0;           // tokens of the last query; 0: none yet
  unsigned kind_ = 0;
  bool right_ = false;
};

/// Throws Error{kInvalidArgument} for draft options that are out of range or do not fit the model,
/// {kUnsupported} for a draft model that only embeds.
void check_draft(const Model& model, const EngineOptions& o);
/// Bytes that make_drafter() allocates, plus the size of the draft model's file.
std::size_t draft_bytes(const EngineOptions& o, std::size_t n_ctx);
/// Makes the drafter for o.max_sequences sequences of n_ctx tokens, or returns nullptr if there are no
/// guesses. Throws Error as check_draft(), std::bad_alloc.
std::shared_ptr<Drafter> make_drafter(const Model& model, const EngineOptions& o, std::size_t n_ctx);

/// Maximum number of rows that guesses of all sequences together take in one forward pass.
inline std::size_t draft_rows(const EngineOptions& o) noexcept {
  constexpr std::size_t kMostRows = 32;
  if (o.draft.source == DraftSource::kNone) return 0;
  return std::min(o.max_sequences * o.draft.max_tokens, std::max(kMostRows, o.draft.max_tokens));
}

}  // namespace detail
}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "draft_model.hpp"  // which ends with draft.inl: it needs a whole DraftModel
#endif
