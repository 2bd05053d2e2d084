#include "examples/squad/prompts.hpp"

#include "examples/squad/fail.hpp"
#include "tokenizer/utf8.hpp"

namespace gemma::squad {
namespace {

constexpr std::string_view kContext = "{context}", kQuestion = "{question}";

}  // namespace

Preset make_preset(std::string_view name, bool is_v2) {
  if (name == "article") {
    return {"article", std::string(kArticleTemplate), false, 1024, false, {0.7, 40, 0.95, 1.1, 2000}};
  }
  if (name == "chat") {
    return {"chat", std::string(is_v2 ? kChatTemplateV2 : kChatTemplate)};
  }
  refuse("a preset is article or chat, not {}", quoted(name));
}

void check_template(std::string_view text) {
  if (utf8::valid_prefix(text) != text.size()) refuse("a prompt template is text in UTF-8; this one is not");
  for (const std::string_view part : {kContext, kQuestion}) {
    if (text.find(part) == std::string_view::npos || text.find(part) != text.rfind(part)) {
      refuse("a prompt template holds {} once; this one does not", part);
    }
  }
}

std::string fill_template(std::string_view text, std::string_view context, std::string_view question) {
  std::string out(text);
  const std::size_t of_context = text.find(kContext), of_question = text.find(kQuestion);
  // the later one first: the earlier one keeps its place
  if (of_question > of_context) out.replace(of_question, kQuestion.size(), question);
  out.replace(of_context, kContext.size(), context);
  if (of_question < of_context) out.replace(of_question, kQuestion.size(), question);
  return out;
}

}  // namespace gemma::squad
