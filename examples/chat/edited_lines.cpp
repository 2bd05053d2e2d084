// Line editing by libedit.
// Invariant: the terminal's modes are changed only while a line is read; Ctrl-C is a key then, not a signal,
// so nothing is interrupted halfway.
#include <array>
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <histedit.h>
#include <langinfo.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "examples/chat/line_source.hpp"
#include "examples/chat/terminal.hpp"
#include "examples/interrupt.hpp"
#include "gguf/error.hpp"

namespace gemma::app {
namespace {

constexpr int kHistorySize = 1000;

/// Sets a UTF-8 locale: libedit reads characters by the locale, and without one (in containers) bytes above
/// 127 would be lost.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::string_view(::nl_langinfo(CODESET)) != "UTF-8") std::setlocale(LC_CTYPE, "C.UTF-8");
}

/// While an object exists, a signal that ends the program first turns off what the prompt turned on: colour
/// and bracketed paste. libedit restores the terminal's modes before it passes the signal on.
class PlainAtTheEnd {
 public:
  PlainAtTheEnd()
      : before_(handle_signals(
            kSignals,
            [](int number) {
              constexpr std::string_view kPlain = "\x1b[?2004l\x1b[0m\n";
              if (::write(STDOUT_FILENO, kPlain.data(), kPlain.size()) < 0) {
              }  // a handler cannot report the error
              ::signal(number, SIG_DFL);
              ::raise(number);
            },
            0)) {}
  PlainAtTheEnd(const PlainAtTheEnd&) = delete;
  PlainAtTheEnd& operator=(const PlainAtTheEnd&) = delete;
  ~PlainAtTheEnd() { restore_signals(kSignals, before_); }

 private:
  static constexpr std::array kSignals = {SIGTERM, SIGHUP};
  std::array<struct sigaction, kSignals.size()> before_;
};

class EditedLines final : public LineSource {
 public:
  EditedLines(const Screen& screen, const std::string& history_file)
      : colour_(screen.colour()), paste_(screen.smart()), history_file_(history_file) {
    use_utf8();
    editor_.reset(::el_init("gemma-chat", stdin, stdout, stderr));
    history_.reset(::history_init());
    if (!editor_ || !history_) throw Error(ErrorCode::kIo, "the terminal cannot be used for line editing");
    load_history();
    EditLine* el = editor_.get();
    ::el_set(el, EL_CLIENTDATA, this);
    ::el_set(el, EL_EDITOR, "emacs");
    ::el_set(el, EL_SIGNAL, 1);
    ::el_set(el, EL_PROMPT_ESC, &EditedLines::prompt, '\1');
    ::el_set(el, EL_HIST, &::history, history_.get());
    ::el_source(el, nullptr);  // ~/.editrc
    ::el_set(el, EL_ADDFN, "gemma-interrupt", "Drop the line", &EditedLines::on_interrupt);
    ::el_set(el, EL_BIND, "^C", "gemma-interrupt", nullptr);
    ::el_set(el, EL_ADDFN, "gemma-paste", "Take pasted lines as one message", &EditedLines::on_paste);
    ::el_set(el, EL_BIND, "\\e[200~", "gemma-paste", nullptr);
    ::el_set(el, EL_ADDFN, "gemma-suspend", "Suspend the program", &EditedLines::on_suspend);
    ::el_set(el, EL_BIND, "^Z", "gemma-suspend", nullptr);
    ::el_set(el, EL_SETTY, "-d", "-isig", nullptr);  // Ctrl-C is a key while editing
  }

 private:
  struct EndEditor {
    void operator()(EditLine* el) const { ::el_end(el); }
  };
  struct EndHistory {
    void operator()(History* h) const { ::history_end(h); }
  };

  static EditedLines& self(EditLine* el) {
    void* data = nullptr;
    ::el_get(el, EL_CLIENTDATA, &data);
    return *static_cast<EditedLines*>(data);
  }

  static char* prompt(EditLine* el) {
    // \1 encloses characters that take no space on the screen. The colour stays on for the typed text.
    static std::array prompts = {std::string("> "), std::string(". "), std::string("\1\x1b[32m\1> "),
                                 std::string("\1\x1b[32m\1. ")};
    const EditedLines& lines = self(el);
    return prompts[(lines.colour_ ? 2u : 0u) + (lines.continued_ ? 1u : 0u)].data();
  }

  /// Moves the cursor to the end of the line and simulates Enter, so that the editor leaves the screen in a
  /// clean state; read_line() drops the line.
  static unsigned char on_interrupt(EditLine* el, int) {
    self(el).interrupted_ = true;
    const LineInfo* line = ::el_line(el);
    ::el_cursor(el, static_cast<int>(line->lastchar - line->cursor));
    ::el_push(el, "\n");
    return CC_CURSOR;
  }

  /// libedit's handler of SIGTSTP restores the terminal's modes, and sets its own again when the process
  /// continues.
  static unsigned char on_suspend(EditLine*, int) {
    ::raise(SIGTSTP);
    return CC_REDISPLAY;
  }

  /// Adds everything up to the terminal's end-of-paste mark to the line, including newlines.
  static unsigned char on_paste(EditLine* el, int) {
    constexpr std::wstring_view kEnd = L"\x1b[201~";
    std::wstring text;
    for (wchar_t c = 0; ::el_wgetc(el, &c) == 1;) {
      text += c == L'\r' ? L'\n' : c;
      if (text.ends_with(kEnd)) {
        text.resize(text.size() - kEnd.size());
        break;
      }
    }
    std::erase_if(text, [](wchar_t c) { return c != L'\n' && (c < 0x20 || (c >= 0x7F && c < 0xA0)); });
    ::el_winsertstr(el, text.c_str());
    return CC_REFRESH;
  }

  Input read_line(bool continued) override {
    continued_ = continued;
    interrupted_ = false;
    ::el_resize(editor_.get());  // the window may have changed during an answer
    ::el_set(editor_.get(), EL_PREP_TERM,
             1);  // otherwise a key typed right after the prompt is handled in the wrong mode
    std::optional<PlainAtTheEnd> plain;
    if (paste_ || colour_) plain.emplace();
    if (paste_) put("\x1b[?2004h");
    int length = 0;
    const char* typed = ::el_gets(editor_.get(), &length);
    if (paste_) put("\x1b[?2004l");
    if (colour_) put("\x1b[0m");
    Input in;
    if (typed == nullptr || length <= 0) {
      put("\n");
      return in;
    }
    in.text.assign(typed, static_cast<std::size_t>(length));
    if (in.text.ends_with('\n')) in.text.pop_back();
    in.kind = interrupted_ ? Input::Kind::kInterrupt : Input::Kind::kLine;
    in.was_empty = in.text.empty();
    return in;
  }

  static void put(const char* text) {
    std::fputs(text, stdout);
    std::fflush(stdout);
  }

  void load_history() {
    HistEvent event;
    ::history(history_.get(), &event, H_SETSIZE, kHistorySize);
    ::history(history_.get(), &event, H_SETUNIQUE, 1);
    if (history_file_.empty()) return;
    std::error_code ignored;
    const std::filesystem::path folder = std::filesystem::path(history_file_).parent_path();
    if (!std::filesystem::exists(folder, ignored)) {
      std::filesystem::create_directories(folder, ignored);
      std::filesystem::permissions(folder, std::filesystem::perms::owner_all, ignored);
    }
    ::history(history_.get(), &event, H_LOAD, history_file_.c_str());
  }

  void remember(const std::string& message) override {
    HistEvent event;
    ::history(history_.get(), &event, H_ENTER, message.c_str());
    if (history_file_.empty()) return;
    // saved each time, so that nothing is lost however the program ends; libedit makes the file readable by
    // its owner only
    ::history(history_.get(), &event, H_SAVE, history_file_.c_str());
  }

  bool colour_;
  bool paste_;
  std::string history_file_;
  std::unique_ptr<EditLine, EndEditor> editor_;
  std::unique_ptr<History, EndHistory> history_;
  bool continued_ = false;
  bool interrupted_ = false;
};

}  // namespace

std::unique_ptr<LineSource> edited_lines(const Screen& screen, const std::string& history_file) {
  return std::make_unique<EditedLines>(screen, history_file);
}

std::string default_history_file() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return std::string(state) + "/gemma/chat_history";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/') return {};
  return std::string(home) + "/.local/state/gemma/chat_history";
}

}  // namespace gemma::app
