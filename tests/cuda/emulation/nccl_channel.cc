#include "tests/cuda/emulation/nccl_channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace wavefield::emulation::nccl {
namespace {

sockaddr_in Loopback(unsigned short port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = port;
  return address;
}

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

void Socket::Close() {
  if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
}

Socket Listen(unsigned short* port) {
  Socket listener(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  if (!listener.valid() || bind(listener.get(), generic, size) != 0 ||
      listen(listener.get(), SOMAXCONN) != 0 || getsockname(listener.get(), generic, &size) != 0) {
    return Socket();
  }
  *port = address.sin_port;
  return listener;
}

Socket Connect(unsigned short port) {
  Socket connection(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const sockaddr_in address = Loopback(port);
  const int no_delay = 1;
  if (!connection.valid() ||
      setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof(no_delay)) != 0 ||
      (connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
           0 &&
       errno != EINPROGRESS)) {
    return Socket();
  }
  return connection;
}

Socket Accept(const Socket& listener) {
  Socket connection(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  const int no_delay = 1;
  if (connection.valid()) {
    setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, sizeof(no_delay));
  }
  return connection;
}

void Channel::Send(const void* data, size_t bytes) {
  if (sent()) {
    out_.clear();
    sent_ = 0;
  }
  const char* const first = static_cast<const char*>(data);
  out_.insert(out_.end(), first, first + bytes);
}

void Channel::Expect(size_t bytes) {
  in_.resize(bytes);
  received_ = 0;
}

bool Channel::Move() {
  while (!sent()) {
    const ssize_t n = send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (n < 0) {
      if (WouldBlock()) break;
      return false;
    }
    sent_ += static_cast<size_t>(n);
  }
  while (!received()) {
    const ssize_t n = recv(socket_.get(), in_.data() + received_, in_.size() - received_, 0);
    if (n < 0 && WouldBlock()) return true;
    if (n <= 0) return false;
    received_ += static_cast<size_t>(n);
  }
  char next;
  const ssize_t n = recv(socket_.get(), &next, 1, MSG_PEEK);
  return n > 0 || (n < 0 && WouldBlock());
}

}  // namespace wavefield::emulation::nccl
