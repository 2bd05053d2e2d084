// Setup of a process with its operating system, before anything else. Only program.cpp includes this.
#pragma once

#include <csignal>
#include <string>
#include <vector>

#include <fcntl.h>
#if defined(_WIN32)
#include <io.h>
#include <windows.h>
#else
#include <unistd.h>
#endif

namespace gemma::app {

#if defined(_WIN32)

/// Makes standard output binary, and the console show it as UTF-8.
inline void prepare_process() noexcept {
  ::_setmode(::_fileno(stdin), _O_BINARY);
  ::_setmode(::_fileno(stdout), _O_BINARY);
  ::_setmode(::_fileno(stderr), _O_BINARY);
  ::SetConsoleOutputCP(CP_UTF8);
}

/// The arguments in UTF-8: main() gets them in the system's code page, which lacks most characters.
class Arguments {
 public:
  Arguments(int, char**) {
    int n = 0;
    wchar_t** const wide = ::CommandLineToArgvW(::GetCommandLineW(), &n);
    for (int i = 0; i < n; ++i) {
      const int size = ::WideCharToMultiByte(CP_UTF8, 0, wide[i], -1, nullptr, 0, nullptr, nullptr);
      std::string text(static_cast<std::size_t>(size > 0 ? size : 1), '\0');
      ::WideCharToMultiByte(CP_UTF8, 0, wide[i], -1, text.data(), size, nullptr, nullptr);
      text_.push_back(std::move(text));
    }
    ::LocalFree(wide);
    for (std::string& text : text_) pointers_.push_back(text.data());
    pointers_.push_back(nullptr);
  }
  int argc() const noexcept { return static_cast<int>(text_.size()); }
  char** argv() noexcept { return pointers_.data(); }

 private:
  std::vector<std::string> text_;
  std::vector<char*> pointers_;
};

#else

/// Lets closed pipes end the program, lets writes to a full disk fail with an error, and opens closed
/// standard streams.
inline void prepare_process() noexcept {
  // `program | head` ends quietly
  std::signal(SIGPIPE, SIG_DFL);
  // a write beyond the file size limit (ulimit -f) fails with an error, like a full disk
  std::signal(SIGXFSZ, SIG_IGN);
  // If a standard stream was closed (`program >&-`), the next opened file would get its descriptor and be
  // written to. Opens /dev/null in the wrong direction instead, so that using the stream stays an error.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1) continue;
    // open() returns the lowest free descriptor, which is this one
    static_cast<void>(!::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
}

/// The arguments of main(), unchanged.
class Arguments {
 public:
  Arguments(int argc, char** argv) noexcept : argc_(argc), argv_(argv) {}
  int argc() const noexcept { return argc_; }
  char** argv() noexcept { return argv_; }

 private:
  int argc_;
  char** argv_;
};

#endif

}  // namespace gemma::app
