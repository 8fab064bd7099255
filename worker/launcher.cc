// wavefield-launcher PARENT_PID CHANNEL_FD PROGRAM [ARGUMENT…]
//
// Ties PROGRAM to its owner and becomes it: the kernel kills it when the thread that started it
// ends. It gets descriptors 0 to 2 and, as 3, CHANNEL_FD (none if that is −1). A program of its own
// because a process that uses gRPC must not run code between fork and exec.

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s PARENT_PID CHANNEL_FD PROGRAM [ARGUMENT...]\n", argv[0]);
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != std::atoi(argv[1])) return 0;  // the owner ended before the request was made
  const int channel = std::atoi(argv[2]);
  if (channel >= 0 && channel != 3) {
    dup2(channel, 3);
  }
  close_range(channel >= 0 ? 4 : 3, ~0U, 0);  // what others forgot to mark close-on-exec
  execv(argv[3], argv + 3);
  std::fprintf(stderr, "cannot run %s: %s\n", argv[3], std::strerror(errno));
  return 127;
}
