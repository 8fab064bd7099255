#pragma once

#include <cstddef>
#include <vector>

namespace wavefield::emulation::nccl {

// A socket that is closed at the end.
class Socket {
 public:
  explicit Socket(int descriptor = -1) : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  Socket& operator=(Socket&& other) noexcept;
  ~Socket() { Close(); }

  bool valid() const { return descriptor_ >= 0; }
  int get() const { return descriptor_; }
  void Close();

 private:
  int descriptor_;
};

// A socket on the loopback address; not valid when that fails. `port` in network order; Listen
// gives it.
Socket Listen(unsigned short* port);
Socket Connect(unsigned short port);
// A connection that waits at the listener; not valid when none does.
Socket Accept(const Socket& listener);

// One end of a connection; never blocks.
class Channel {
 public:
  explicit Channel(Socket socket) : socket_(std::move(socket)) {}

  void Send(const void* data, size_t bytes);
  // What comes next is so long. REQUIRES: received().
  void Expect(size_t bytes);
  // Moves what can be moved now. False: the other end is gone.
  bool Move();
  bool sent() const { return sent_ == out_.size(); }
  bool received() const { return received_ == in_.size(); }
  const std::vector<char>& in() const { return in_; }

 private:
  Socket socket_;
  std::vector<char> out_, in_;
  size_t sent_ = 0, received_ = 0;
};

}  // namespace wavefield::emulation::nccl
