// Tokens that are guessed and then verified several at a time: speculative decoding (Leviathan et al. 2023)
// without its sampling rule. One forward computes the last token and the guesses behind it; then each token
// is chosen by its own row of logits exactly as without guesses, and a row counts when the token before it is
// the one that was guessed. Invariant: rows have the bits of single steps (law 1), so answers are the same;
// everything is allocated when an engine or a generation is made.
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
  std::size_t slot = 0;                       // which of its sequences
  std::span<const std::int32_t> tokens = {};  // all tokens of the sequence; at least one
  std::span<std::int32_t> guesses = {};       // to be filled from the front, with ids of the vocabulary
  std::size_t n = 0;                          // how many were guessed; 0: none
  unsigned kind = 0;                          // below DraftLength::kKinds: guesses alike in their chances
};

/// Guesses how sequences go on. One thread at a time.
class Drafter {
 public:
  Drafter() = default;
  Drafter(const Drafter&) = delete;
  Drafter& operator=(const Drafter&) = delete;
  virtual ~Drafter() = default;

  /// Fills queries, of different slots. Where a slot's last query was of the same generation, its tokens are
  /// the beginning of these; otherwise begin() was called. Allocates nothing. `cancel`: as Model::forward().
  virtual void guess(std::span<DraftQuery> queries, const std::atomic<bool>* cancel) = 0;
  /// The sequence of a slot is now this one, which may have anything or nothing in common with the one
  /// before.
  virtual void begin(std::size_t slot, std::span<const std::int32_t> tokens) noexcept = 0;
  /// What guessing one token costs, as a share of a step of the model that verifies it; 0: nothing.
  virtual double cost() const noexcept { return 0; }
  /// The kind of guesses that a model computed, which takes time.
  static constexpr unsigned kCostlyKind = 3;
  /// Memory held by the drafter, in bytes.
  virtual std::size_t size_bytes() const noexcept { return 0; }
};

/// What followed when the last tokens of the sequence stood in it before: of the latest places where the last
/// two did, the one that agrees with most tokens before them (prompt lookup, Saxena 2023). Chains of places
/// by a hash of two tokens, as in LZ77 compressors: a token costs one link, a guess at most kMostPlaces
/// comparisons, going back one link a token.
class PromptLookup final : public Drafter {
 public:
  static constexpr std::size_t kMostPlaces = 32;  // that a guess looks at, the latest first
  static constexpr std::size_t kLongest = 32;     // tokens that are compared at each

  /// Holds size_bytes_for() bytes. Throws std::bad_alloc.
  PromptLookup(std::size_t n_slots, std::size_t n_ctx);
  /// Bytes for n_slots sequences of n_ctx tokens: 12 to 16 for each token.
  static std::size_t size_bytes_for(std::size_t n_slots, std::size_t n_ctx) noexcept;

  void guess(std::span<DraftQuery> queries, const std::atomic<bool>* cancel) override;
  void begin(std::size_t slot, std::span<const std::int32_t> tokens) noexcept override;
  std::size_t size_bytes() const noexcept override;

 private:
  struct Slot {
    std::vector<std::int32_t> tokens;     // [n_ctx]
    std::vector<std::uint32_t> previous;  // [n_ctx]: the place before with the same hash; 0: none
    std::vector<std::uint32_t> latest;    // by hash: the last place; 0: none
    std::size_t n = 0;                    // tokens known
  };
  /// Where the latest place of the two tokens that end at i stands.
  static std::uint32_t& latest(Slot& s, std::size_t i) noexcept;
  static void add(Slot& s, std::span<const std::int32_t> tokens) noexcept;
  static void guess(const Slot& s, DraftQuery& q) noexcept;

  std::vector<Slot> slots_;
};

/// How many guesses are worth their rows, by how often those of the same kind were right. Plain arithmetic:
/// the same answers give the same lengths.
class DraftLength {
 public:
  static constexpr std::size_t kKinds = 6;  // by tokens that agreed: 2, 3, 4, 6, 10, 18 or more
  /// What one more row is reckoned to add to a step of one token. Two cores of Zen 3 take 0.2 to 0.3 for rows
  /// of gemma-2b Q4_K_M; where arithmetic is faster beside memory it is less.
  static constexpr double kRowCost = 0.15;

  /// A decode step as planned so far.
  struct Step {
    double tokens = 1;  // that it is expected to bring
    double time = 1;    // of it; a step of one row takes 1
    /// A step of n sequences with one row each.
    static Step of(std::size_t n) noexcept {
      const auto rows = static_cast<double>(n);
      return {rows, 1 + kRowCost * (rows - 1)};
    }
  };

  /// The kind of a guess that follows n_agreed tokens equal to earlier ones.
  static unsigned kind(std::size_t n_agreed) noexcept;
  /// How many of at most n guesses make the step bring more tokens in its time; they join it. `cost`:
  /// Drafter::cost().
  std::size_t worth(unsigned kind, std::size_t n, Step& step, double cost = 0) const noexcept;
  /// Records whether a guess of this kind was the token chosen.
  void compared(unsigned kind, bool right) noexcept {
    right_[kind] += ((right ? 1.0 : 0.0) - right_[kind]) * kRate;
  }
  /// A step went by without a guess that costs something: it will be tried again some time.
  void rest(unsigned kind) noexcept { right_[kind] += (kAtFirst[kind] - right_[kind]) * (kRate / 8); }

 private:
  static constexpr double kRate = 0.2;  // that the last guess counts with
  static constexpr std::array<double, kKinds> kAtFirst = {0.25, 0.4, 0.55, 0.7, 0.8, 0.9};

  std::array<double, kKinds> right_ = kAtFirst;  // share of guesses that were right
};

namespace detail {

/// The guesses of one generation, from the query until what is chosen differs.
class Guesses {
 public:
  /// Of at most so many tokens a step; 0: none. Throws std::bad_alloc.
  explicit Guesses(std::size_t most) : tokens_(most == 0 ? 0 : most + 1) {}

  /// Whether drafting is enabled for this generation.
  bool enabled() const noexcept { return !tokens_.empty(); }
  /// Asks how the sequence goes on, whose last token waits; at most n guesses will have rows. `step`: as it
  /// is planned so far.
  DraftQuery query(Drafter& drafter, std::size_t slot, std::span<const std::int32_t> tokens, std::size_t n,
                   const DraftLength::Step& step);
  /// Takes what was guessed: of guesses that are possible the first that pay in this step, at most n, get
  /// rows. `possible` tells it for an id.
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
  /// The waiting token and the guesses that have a row behind its own: what one forward computes.
  std::span<const std::int32_t> rows() const noexcept { return std::span(tokens_).first(1 + n_rows_); }
  /// Compares the token chosen by the last row that counts with the guess of its place.
  void compare(std::int32_t chosen) noexcept;
  /// Whether it was the next guess and has a row, which counts now.
  bool right() const noexcept { return right_; }
  /// How many of rows() count: the waiting token's, and those of guesses that were right.
  std::size_t n_right() const noexcept { return 1 + next_; }

 private:
  DraftLength length_;
  std::vector<std::int32_t> tokens_;  // the waiting token, then guesses
  std::size_t n_ = 0;                 // guesses to be compared, with a row or not
  std::size_t n_rows_ = 0;            // of them, those with a row
  std::size_t next_ = 0;              // the next to be compared
  std::size_t n_known_ = 0;           // tokens of the last query; 0: none yet
  unsigned kind_ = 0;
  bool right_ = false;
};

/// Throws Error{kInvalidArgument} for options that are not possible for a model.
void check_draft(const Model& model, const EngineOptions& o);
/// Bytes that make_drafter() takes, with the file of a model that guesses.
std::size_t draft_bytes(const EngineOptions& o, std::size_t n_ctx);
/// What guesses for that many sequences of n_ctx tokens, or nullptr. Throws Error as check_draft(),
/// std::bad_alloc.
std::shared_ptr<Drafter> make_drafter(const Model& model, const EngineOptions& o, std::size_t n_ctx);

/// Rows of one forward that guesses may have, all sequences together.
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
