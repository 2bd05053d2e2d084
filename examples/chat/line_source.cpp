#include "examples/chat/line_source.hpp"

#include <cstddef>
#include <iostream>
#include <string>
#include <utility>

#include "examples/read_file.hpp"

namespace gemma::app {
namespace {

class PlainLines final : public LineSource {
  Input read_line(bool) override {
    Input in;
    if (!std::getline(std::cin, in.text)) {
      check_stdin_was_read(std::cin);
      return in;
    }
    in.kind = Input::Kind::kLine;
    if (in.text.ends_with('\r')) in.text.pop_back();
    return in;
  }
};

}  // namespace

Input LineSource::read() {
  Input whole{Input::Kind::kLine, {}, false};
  for (bool continued = false;; continued = true) {
    Input in = read_line(continued);
    if (in.kind == Input::Kind::kInterrupt) {
      in.was_empty = in.was_empty && !continued;
      return in;
    }
    if (in.kind == Input::Kind::kEnd) {
      if (!continued) return in;  // otherwise the input ended after a backslash: return the text so far
      break;
    }
    const bool more = in.text.ends_with('\\');
    if (more) in.text.back() = '\n';
    whole.text += in.text;
    if (!more) break;
  }
  if (whole.text.find_first_not_of(" \t\n") != std::string::npos) remember(whole.text);
  return whole;
}

std::unique_ptr<LineSource> plain_lines() {
  return std::make_unique<PlainLines>();
}

}  // namespace gemma::app
