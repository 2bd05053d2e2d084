#define OMPI_SKIP_MPICXX 1  // only the C functions are used
#define MPICH_SKIP_MPICXX 1
#include "examples/pipeline/ranks.hpp"

#include <algorithm>
#include <chrono>
#include <climits>
#include <cmath>
#include <deque>
#include <exception>
#include <fstream>
#include <iterator>
#include <list>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <mpi.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "examples/program.hpp"
#include "gemma/thread_team.hpp"

namespace gemma::app {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

/// Ends this process after `seconds`, whatever it is waiting for.
void end_within(unsigned seconds) {
  ::signal(SIGALRM, [](int) { ::_exit(1); });
  ::alarm(seconds);
}

/// Whether a process is an MPI launcher that waits for its ranks.
bool starts_ranks(pid_t pid) {
  constexpr std::string_view kNames[] = {"mpirun", "mpiexec", "orterun", "orted", "prterun", "prted"};
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  return std::getline(file, name) &&
         std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

/// Kills the launcher if it still runs after `seconds`, from a separate process that mpirun does not know:
/// Open MPI's mpirun may wait for hours for its daemon on a machine that is cut off. SIGTERM makes mpirun 4.1
/// crash in that state.
void end_launcher_after(int seconds) {
  const pid_t launcher = ::getppid();
  if (!starts_ranks(launcher)) return;
  const auto handle = static_cast<int>(::syscall(SYS_pidfd_open, launcher, 0));
  if (handle < 0 || ::fork() != 0) return;
  // only system calls: the parent had other threads
  ::setsid();
  for (int fd = 0; fd < 1024; ++fd) {
    if (fd != handle) ::close(fd);  // mpirun waits until its ranks' output is closed
  }
  pollfd until{handle, POLLIN, 0};
  if (::poll(&until, 1, seconds * 1000) == 0) ::syscall(SYS_pidfd_send_signal, handle, SIGKILL, nullptr, 0);
  ::_exit(0);
}

[[noreturn]] void abort_all() {
  end_within(5);  // MPI_Abort may hang if the network is gone
  MPI_Abort(MPI_COMM_WORLD, 1);
  ::_exit(1);
}
[[noreturn]] void abort_all(const std::string& line) {
  print_error("gemma-pipeline", line);
  abort_all();
}

std::string host_name() {
  char name[MPI_MAX_PROCESSOR_NAME];
  int length = 0;
  MPI_Get_processor_name(name, &length);
  return {name, static_cast<std::size_t>(length)};
}

/// The number of threads for each of the ranks of `local`, which are on one machine.
unsigned threads_beside(MPI_Comm local) {
  int n_ranks = 1;
  MPI_Comm_size(local, &n_ranks);
  const unsigned cores = physical_core_count();
  cpu_set_t own, all;
  CPU_ZERO(&own);
  if (::sched_getaffinity(0, sizeof own, &own) != 0) return cores;
  MPI_Allreduce(&own, &all, static_cast<int>(sizeof own), MPI_UNSIGNED_CHAR, MPI_BOR, local);
  if (!CPU_EQUAL(&own, &all)) return cores;  // each rank has its own CPUs
  return std::max(1u, cores / static_cast<unsigned>(n_ranks));
}

/// Sends and receives the messages by MPI. Used by the main thread only.
class Carrier {
 public:
  Carrier(int rank, int size, double timeout, Mailbox& mailbox)
      : rank_(rank), size_(size), timeout_(timeout), mailbox_(mailbox) {}

  /// Does all work that needs no waiting; returns whether there was any.
  bool step() {
    const Clock::time_point now = Clock::now();
    // this process was suspended: messages that others sent meanwhile have not been read yet
    if (now - last_step_ > std::chrono::seconds(1)) last_heard_ = now;
    last_step_ = now;
    bool moved = send_all();
    moved = receive_all() || moved;
    beat(now);
    return moved;
  }
  /// Whether all messages have been sent and received.
  bool is_idle() const { return sending_.empty() && receiving_.empty(); }
  /// Seconds since the last message or heartbeat of the next rank, if they exceed the limit; else nullopt.
  std::optional<double> silence() const {
    const double seconds = Seconds(Clock::now() - last_heard_).count();
    if (size_ == 1 || timeout_ == 0 || seconds <= timeout_) return std::nullopt;
    return seconds;
  }
  int watched() const { return (rank_ + 1) % size_; }

 private:
  struct Transfer {
    MPI_Request request = MPI_REQUEST_NULL;
    Message message;
  };

  void start_to_send(Message message) {
    if (message.bytes.size() > INT_MAX) {
      mailbox_.fail("a message of " + std::to_string(message.bytes.size()) +
                    " bytes is too large; --chunk makes it smaller");
      return;
    }
    Transfer& t = sending_.emplace_back();
    t.message = std::move(message);
    MPI_Isend(t.message.bytes.data(), static_cast<int>(t.message.bytes.size()), MPI_BYTE, t.message.peer,
              static_cast<int>(t.message.kind), MPI_COMM_WORLD, &t.request);
  }
  bool send_all() {
    bool moved = false;
    while (std::optional<Message> message = mailbox_.next_to_send()) {
      start_to_send(std::move(*message));
      moved = true;
    }
    for (auto t = sending_.begin(); t != sending_.end();) {
      int done = 0;
      MPI_Test(&t->request, &done, MPI_STATUS_IGNORE);
      if (done != 0 && t->message.kind == Kind::kBeat) beat_under_way_ = false;
      t = done != 0 ? sending_.erase(t) : std::next(t);
    }
    return moved;
  }
  bool receive_all() {
    bool moved = false;
    for (;;) {
      int found = 0;
      MPI_Message handle = MPI_MESSAGE_NULL;
      MPI_Status status;
      MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &found, &handle, &status);
      if (found == 0) break;
      if (status.MPI_SOURCE == watched()) last_heard_ = Clock::now();
      int size = 0;
      MPI_Get_count(&status, MPI_BYTE, &size);
      Transfer& t = receiving_.emplace_back();
      t.message = {static_cast<Kind>(status.MPI_TAG), status.MPI_SOURCE,
                   std::vector<std::byte>(static_cast<std::size_t>(size))};
      MPI_Imrecv(t.message.bytes.data(), size, MPI_BYTE, &handle, &t.request);
      moved = true;
    }
    while (!receiving_.empty()) {  // in the order of sending, whichever is complete first
      int done = 0;
      MPI_Test(&receiving_.front().request, &done, MPI_STATUS_IGNORE);
      if (done == 0) break;
      Message message = std::move(receiving_.front().message);
      receiving_.pop_front();
      if (message.kind != Kind::kBeat) mailbox_.deliver(std::move(message));
      moved = true;
    }
    return moved;
  }
  void beat(Clock::time_point now) {
    const double every = std::clamp(timeout_ / 6, 0.05, 5.0);
    if (size_ == 1 || timeout_ == 0 || beat_under_way_ || Seconds(now - last_beat_).count() < every) return;
    last_beat_ = now;
    beat_under_way_ = true;
    start_to_send({Kind::kBeat, (rank_ + size_ - 1) % size_, {}});
  }

  const int rank_, size_;
  const double timeout_;
  Mailbox& mailbox_;
  std::list<Transfer> sending_;     // a list: requests and buffers must not move
  std::deque<Transfer> receiving_;  // in the order in which they were found; elements do not move either
  bool beat_under_way_ = false;
  Clock::time_point last_beat_{}, last_heard_ = Clock::now(), last_step_ = last_heard_;
};

/// Sleeps for increasing times while nothing happens, up to 0.2 ms: a hundredth of a decoding step, with
/// almost no load.
class Pause {
 public:
  void after(bool moved) {
    idle_ = moved ? std::chrono::microseconds(10) : std::min(idle_ * 2, std::chrono::microseconds(200));
    std::this_thread::sleep_for(idle_);
  }

 private:
  std::chrono::microseconds idle_{10};
};

/// The computing thread, and its result.
class Computing {
 public:
  Computing(const std::function<int(Mailbox&)>& work, Mailbox& mailbox)
      : thread_([this, &work, &mailbox] {
          try {
            status_ = work(mailbox);
          } catch (const std::exception& e) {
            problem_ = e.what();
            failed_ = true;
          }
          done_ = true;
        }) {}
  bool done() const { return done_; }
  /// The results; valid after done().
  int status() const { return status_; }
  const std::string* problem() const { return failed_ ? &problem_ : nullptr; }
  void join() { thread_.join(); }

 private:
  int status_ = 0;
  std::string problem_;
  bool failed_ = false;
  std::atomic<bool> done_{false};
  std::thread thread_;  // last member: it uses the others
};

}  // namespace

Ranks::Ranks(int& argc, char**& argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  MPI_Comm local = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local);
  default_threads_ = threads_beside(local);
  MPI_Comm_free(&local);
}

std::string Ranks::host() const {
  return host_name();
}

Ranks::~Ranks() {
  end_within(10);
  MPI_Finalize();
  ::alarm(0);
}

int Ranks::run(double timeout, const std::function<int(Mailbox&)>& work) {
  Mailbox mailbox(rank_);
  Carrier carrier(rank_, size_, timeout, mailbox);
  Computing computing(work, mailbox);
  const auto who = [&] { return fmt::format("rank {} on {}: ", rank_, host_name()); };
  MPI_Request barrier = MPI_REQUEST_NULL;
  bool at_barrier = false;
  for (Pause pause;;) {
    const bool was_done = computing.done();  // before the last messages are sent below
    const bool moved = carrier.step();
    if (was_done && computing.problem() != nullptr) {
      if (size_ != 1) abort_all(who() + *computing.problem());
      // no other rank waits, and MPI_Abort would add lines of its own
      print_error("gemma-pipeline", *computing.problem());
      computing.join();
      return 1;
    }
    if (const auto seconds = carrier.silence()) {
      // mpirun is ending the ranks, one of which has printed the reason: missing ranks are not an error
      if (was_done && computing.status() == 128 + SIGTERM) abort_all();
      const std::string why =
          fmt::format("rank {} has given no sign of life for {:.0f} s", carrier.watched(), *seconds);
      mailbox.fail(why);
      // the thread that writes a file removes it if it is incomplete
      for (int i = 0; i < 200 && !computing.done(); ++i) {
        carrier.step();  // sends heartbeats, so that the preceding rank does not report this one as well
        ::usleep(10000);
      }
      end_launcher_after(6);
      abort_all(who() + why);
    }
    if (was_done && !at_barrier && carrier.is_idle()) {
      MPI_Ibarrier(MPI_COMM_WORLD, &barrier);
      at_barrier = true;
    }
    int all = 0;
    if (at_barrier) MPI_Test(&barrier, &all, MPI_STATUS_IGNORE);
    if (all != 0) break;
    pause.after(moved);
  }
  computing.join();
  return computing.status();
}

}  // namespace gemma::app
