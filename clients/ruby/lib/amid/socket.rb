# frozen_string_literal: true

require "ffi-rzmq"
require_relative "error"

module Amid
  # A ZeroMQ socket for requests, whose every wait has an end, and the process's one ZeroMQ context. With IMMEDIATE nothing is queued
  # for a broker that is not there, so that what it does not take has certainly not been sent.
  class Socket
    @lock = Mutex.new

    class << self
      # @return [Float] seconds, by a clock that nobody sets
      def now
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end

      # The context of this process: a fork has no use for its parent's, whose threads it has not.
      def context
        @lock.synchronize do
          @context = nil unless @owner == Process.pid
          @owner = Process.pid
          @context ||= new_context
        end
      end

      private

      # The context lives as long as the process: its finalizer would wait, at the program's end, for sockets that nobody closed. So
      # ZeroMQ's threads run to the last, and its code must stay in memory when Ruby unloads its libraries before that.
      def new_context
        library = FFI::DynamicLibrary
        library.open(LibZMQ.ffi_libraries.first.name, library::RTLD_LAZY | library::RTLD_NODELETE)
        ZMQ::Context.new.tap { |context| ObjectSpace.undefine_finalizer(context) }
      end
    end

    attr_reader :endpoint

    # @raise [Error] of kind `:unreachable` when this can be no endpoint
    def initialize(endpoint)
      @endpoint = endpoint
      @socket = ZMQ::Socket.new(Socket.context, ZMQ::DEALER)
      { ZMQ::LINGER => 0, ZMQ::IMMEDIATE => 1 }.each { |option, value| @socket.setsockopt(option, value) }
      connected = ZMQ::Util.resultcode_ok?(@socket.connect(endpoint))
      raise Error.unreachable("no amid daemon answers at #{endpoint} (#{ZMQ::Util.error_string})") unless connected

      @readable = poller(ZMQ::POLLIN)
      @writable = poller(ZMQ::POLLOUT)
    end

    # @return [Boolean] whether somebody took the message within so many seconds
    def send_message(frames, seconds)
      ready?(@writable, seconds) && ZMQ::Util.resultcode_ok?(@socket.send_strings(frames, ZMQ::DONTWAIT))
    end

    # @return [String, nil] the last frame of a message, or nil when none came within so many seconds
    def receive(seconds)
      frames = []
      @socket.recv_strings(frames, ZMQ::DONTWAIT) if ready?(@readable, seconds)
      frames.last
    end

    def close
      @socket.close
    end

    private

    def poller(events)
      ZMQ::Poller.new.tap { |poller| poller.register(@socket, events) }
    end

    # A signal ends the wait in ZeroMQ, but not this one.
    def ready?(poller, seconds)
      limit = Socket.now + seconds
      loop do
        ready = poller.poll(([limit - Socket.now, 0].max * 1000).ceil)
        return ready.positive? unless ready.negative?
        raise SystemCallError.new("zmq_poll", ZMQ::Util.errno) unless ZMQ::Util.errno == Errno::EINTR::Errno
      end
    end
  end
end
