# frozen_string_literal: true

require_relative "error"

module Amid
  # Where the daemon is on this machine.
  module Place
    SOCKET = "a socket"

    class << self
      # @param run_dir [String, nil] this or AMID_RUN_DIR is the only directory to look in: another could be another PBX's
      # @return [String] the endpoint of the daemon's rpc socket
      # @raise [Error] of kind `:unreachable` when no directory holds one
      def find(run_dir)
        looked = run_dirs(run_dir).to_h { |directory| [directory, there("#{directory}/rpc")] }
        directory = looked.key(SOCKET)
        return "ipc://#{directory}/rpc" if directory

        raise unreachable("no amid daemon found (#{looked.map { |path, found| "#{path}: #{found}" }.join("; ")})")
      end

      # @return [Error] what to raise when nobody took a request over
      def nobody_at(endpoint)
        unreachable("no amid daemon answers at #{endpoint}")
      end

      private

      def run_dirs(run_dir)
        named = (run_dir || ENV.fetch("AMID_RUN_DIR", "")).to_s
        return [named] if run_dir || !named.empty?

        private_dir = ENV["XDG_RUNTIME_DIR"].to_s
        private_dir.empty? ? ["/run/amid"] : ["/run/amid", "#{private_dir}/amid"]
      end

      # What is at a path, in words. Connecting to a socket takes the permission to write it.
      def there(path)
        return "no socket" unless File.stat(path).socket?

        File.writable?(path) ? SOCKET : "this user may not use its socket"
      rescue Errno::EACCES
        "this user may not enter it"
      rescue SystemCallError
        "no socket"
      end

      def unreachable(what)
        Error.new(:unreachable, "#{what}: start one with `amid run`, or name its directory in AMID_RUN_DIR")
      end
    end
  end
end
