// The format of --help: CLI11's lists, in lines that fit the screen.
// Invariant: no line is longer than kWidth unless it is a single word.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

namespace gemma::app {

/// `text` in lines of at most `width` bytes, broken at spaces; its own newlines stay.
inline std::string wrapped(std::string_view text, std::size_t width) {
  std::string out;
  std::size_t column = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of(" \n", at), text.size());
    const std::size_t word = end - at;
    if (column != 0 && column + 1 + word > width) {
      out += '\n';
      column = 0;
    } else if (column != 0) {
      out += ' ';
      ++column;
    }
    out += text.substr(at, word);
    column += word;
    if (end < text.size() && text[end] == '\n') {
      out += '\n';
      column = 0;
    }
    at = end + 1;
  }
  return out;
}

/// Flags with the kind of their value on the left, their description on the right.
class HelpFormat : public CLI::Formatter {
 public:
  static constexpr std::size_t kWidth = 98;

  HelpFormat() { column_width(28); }

  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string type = option->get_type_size() != 0 ? option->get_type_name() : "";
    return type.empty() || option->nonpositional() == false ? "" : " " + type;
  }
  std::string make_option_desc(const CLI::Option* option) const override {
    const char* required = option->get_required() && option->nonpositional() ? " (required)" : "";
    return wrapped(option->get_description() + required, kWidth - get_column_width());
  }
  std::string make_description(const CLI::App* app) const override {
    return wrapped(Formatter::make_description(app), kWidth);
  }
};

}  // namespace gemma::app
