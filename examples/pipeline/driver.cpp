#include "examples/pipeline/driver.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "examples/whole_file.hpp"

namespace gemma::app {

void Driver::issue(Step step, Results& to) {
  while (under_way_.size() >= most_) take(to);
  own_.run(step, cancel_);
  step.rows.clear();
  under_way_.push_back(std::move(step));
}

void Driver::take(Results& to) {
  for (;;) {
    const Message message = mailbox_.receive(&cancel_);
    if (message.kind == Kind::kRow) {
      to.row(under_way_.front(), message.bytes);
    } else if (message.kind == Kind::kResult) {
      const Step step = std::move(under_way_.front());
      under_way_.pop_front();
      return to.result(step, Reader(message.bytes).get_list<std::int32_t>());
    } else {
      throw Error(ErrorCode::kMalformed,
                  "rank " + std::to_string(message.peer) + " sent an unexpected message");
    }
  }
}

namespace {

/// Writes rows in the order of sequences; rows of later sequences are kept until their turn.
class LogitsFile final : public Results {
 public:
  LogitsFile(std::span<const std::vector<std::int32_t>> sequences, const std::string& path)
      : file_(path), kept_(sequences.size()) {
    for (const auto& ids : sequences) left_.push_back(ids.size());
  }

  void row(const Step& step, std::span<const std::byte> logits) override {
    while (row_ == step.parts[part_].n_tokens) ++part_, row_ = 0;
    ++row_;
    const std::size_t sequence = step.parts[part_].sequence;
    if (sequence != turn_) {
      kept_[sequence].insert(kept_[sequence].end(), logits.begin(), logits.end());
    } else {
      file_.write(logits);
    }
    --left_[sequence];
    while (turn_ < left_.size() && left_[turn_] == 0) {
      if (++turn_ < left_.size()) file_.write(std::exchange(kept_[turn_], {}));
    }
  }
  void result(const Step&, std::span<const std::int32_t>) override { part_ = row_ = 0; }
  void commit() { file_.commit(); }

 private:
  WholeFile file_;
  std::vector<std::vector<std::byte>> kept_;  // [n_sequences]
  std::vector<std::size_t> left_;             // [n_sequences] rows that are still missing
  std::size_t turn_ = 0;                      // the sequence whose rows are written immediately
  std::size_t part_ = 0, row_ = 0;            // of the running step
};

}  // namespace

void write_logits(Driver& driver, std::span<const std::vector<std::int32_t>> sequences, std::size_t chunk,
                  const std::string& path) {
  LogitsFile file(sequences, path);
  for (std::size_t at = 0;; at += chunk) {
    Step step;
    step.wanted = Wanted::kLogits;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const std::span ids = sequences[i];
      if (at < ids.size()) step.add(i, ids.subspan(at, std::min(chunk, ids.size() - at)), Logits::kAll);
    }
    if (step.parts.empty()) break;
    driver.issue(std::move(step), file);
  }
  driver.finish(file);
  file.commit();
}

}  // namespace gemma::app
