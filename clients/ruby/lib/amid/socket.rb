# frozen_string_literal: true

require "ffi-rzmq"
require_relative "deadline"
require_relative "place"

module Amid
  # A ZeroMQ socket whose every wait has an end, and the process's one ZeroMQ context.
  class Socket
    @lock = Mutex.new

    class << self
      # A socket for requests. With IMMEDIATE nothing is queued for a broker that is not there, so that what it does not take has
      # certainly not been sent.
      def dealer(endpoint)
        new(ZMQ::DEALER, { ZMQ::LINGER => 0, ZMQ::IMMEDIATE => 1 }).connect(endpoint)
      end

      def subscriber
        new(ZMQ::SUB, { ZMQ::LINGER => 0 })
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

      # The context lives as long as the process: its finalizer would wait, at the program's end, for sockets that nobody closed.
      def new_context
        keep_library
        ZMQ::Context.new.tap { |context| ObjectSpace.undefine_finalizer(context) }
      end

      # So ZeroMQ's threads run to the last, and its code must stay in memory when Ruby unloads its libraries before that.
      def keep_library
        library = FFI::DynamicLibrary
        library.open(LibZMQ.ffi_libraries.first.name, library::RTLD_LAZY | library::RTLD_NODELETE)
      end
    end

    def initialize(type, options)
      @socket = ZMQ::Socket.new(Socket.context, type)
      options.each { |option, value| @socket.setsockopt(option, value) }
      @readable = poller(ZMQ::POLLIN)
      @writable = poller(ZMQ::POLLOUT)
    end

    # @return [self]
    # @raise [Error] of kind `:unreachable` when this can be no endpoint
    def connect(endpoint)
      return self if ZMQ::Util.resultcode_ok?(@socket.connect(endpoint))

      reason = ZMQ::Util.error_string
      close
      raise Place.nobody_at("#{endpoint} (#{reason})")
    end

    def subscribe(topic)
      @socket.setsockopt(ZMQ::SUBSCRIBE, topic, topic.bytesize)
    end

    # @param frames [Array<String>]
    # @return [Boolean] whether somebody took the message before the deadline
    def hand_over(frames, deadline)
      ready?(@writable, deadline) && ZMQ::Util.resultcode_ok?(@socket.send_strings(frames, ZMQ::DONTWAIT))
    end

    # @return [Array<String>, nil] the frames of a message, or nil when none came before the deadline
    def receive(deadline)
      frames = []
      @socket.recv_strings(frames, ZMQ::DONTWAIT) if ready?(@readable, deadline)
      frames unless frames.empty?
    end

    def close
      @socket.close
    end

    def closed?
      @socket.socket.nil?
    end

    private

    def poller(events)
      ZMQ::Poller.new.tap { |poller| poller.register(@socket, events) }
    end

    # A signal ends the wait in ZeroMQ, but not ours.
    def ready?(poller, deadline)
      loop do
        ready = poller.poll(milliseconds(deadline.left))
        return ready.positive? unless ready.negative?
        raise SystemCallError.new("zmq_poll", ZMQ::Util.errno) unless ZMQ::Util.errno == Errno::EINTR::Errno
      end
    end

    def milliseconds(seconds)
      seconds.infinite? ? :blocking : (seconds * 1000).ceil
    end
  end
end
