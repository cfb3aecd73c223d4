# The peer Sidekiq: a no-op job, and the producer of its backlog (`ruby sidekiq_worker.rb fill <count> <payload>`).
require 'json'
require 'sidekiq'

Sidekiq.configure_server { |config| config.redis = { url: ENV.fetch('REDIS_URL') } }
Sidekiq.configure_client { |config| config.redis = { url: ENV.fetch('REDIS_URL') } }

class BenchJob
  include Sidekiq::Worker
  sidekiq_options queue: 'sidekiq_bench', retry: false

  def perform(payload); end
end

if ARGV[0] == 'fill'
  payload = JSON.parse(ARGV[2])
  ARGV[1].to_i.times.each_slice(1_000) do |slice|
    Sidekiq::Client.push_bulk('class' => BenchJob, 'args' => slice.map { [payload] })
  end
end
