// Separates thoughts from the answer in a model's text as it arrives.
// Invariant: the answer's parts together are without_thoughts() of the input (untrimmed); at most a marker's
// length is held back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "dialects/dialect.hpp"

namespace gemma {

/// A text in two parts: the answer, and the thought before it.
struct Thoughts {
  std::string answer;   // the text to show
  std::string thought;  // not part of the answer
};

/// Splits the text of one answer; one thread at a time. In a dialect without thoughts all text is answer.
class ThoughtSplitter {
 public:
  /// `agent`: the dialect's (Turns::agent), or nullptr; it must outlive this.
  explicit ThoughtSplitter(const AgentTurns* agent) : agent_(agent) {
    if (agent_ != nullptr && agent_->thought_begin.empty()) agent_ = nullptr;
  }

  /// Splits the next piece of text; returns what it adds to the thought and to the answer.
  Thoughts push(std::string_view text) {
    Thoughts out;
    if (agent_ == nullptr) {
      out.answer = text;
      return out;
    }
    pending_ += text;
    while (step(out)) {
    }
    return out;
  }
  /// Returns the text held back; the splitter is then ready for the next answer.
  Thoughts flush() {
    Thoughts out;
    (inside_ ? out.thought : out.answer) = pending_;
    pending_.clear();
    inside_ = head_ = false;
    return out;
  }

 private:
  /// Moves the text before the next marker to `out`; returns whether there is more to process.
  bool step(Thoughts& out) {
    if (head_) {  // at the beginning of a thought, where a head may follow
      if (!pending_.starts_with(agent_->thought_head) && agent_->thought_head.starts_with(pending_))
        return false;
      if (pending_.starts_with(agent_->thought_head)) pending_.erase(0, agent_->thought_head.size());
      head_ = false;
    }
    const std::string_view text = pending_;
    const std::size_t begin = inside_ ? text.npos : text.find(agent_->thought_begin);
    const std::size_t end = text.find(agent_->thought_end);
    const std::size_t at = std::min(begin, end);
    const std::size_t sure = at != text.npos ? at : text.size() - held_back(text);
    (inside_ ? out.thought : out.answer) += text.substr(0, sure);
    if (at == text.npos) {
      pending_.erase(0, sure);
      return false;
    }
    inside_ = head_ = begin < end;
    pending_.erase(0, at + (inside_ ? agent_->thought_begin : agent_->thought_end).size());
    return true;
  }
  /// Number of bytes at the end of `text` that may be the beginning of a marker.
  std::size_t held_back(std::string_view text) const {
    std::size_t most = 0;
    for (const std::string_view marker : {agent_->thought_begin, agent_->thought_end}) {
      for (std::size_t n = std::min(marker.size() - 1, text.size()); n > most; --n) {
        if (text.ends_with(marker.substr(0, n))) most = n;
      }
    }
    return most;
  }

  const AgentTurns* agent_;
  bool inside_ = false;
  bool head_ = false;  // a thought's head may follow
  std::string pending_;
};

}  // namespace gemma
