# luafn as a Nomad job: nomad job run deploy/luafn.nomad.hcl
job "luafn" {
  type = "service"

  # One after the other, each only when the one before is healthy.
  update {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "5s"
    auto_revert      = true
  }

  group "luafn" {
    count = 2

    network {
      port "http" { to = 8888 }
      port "admin" { to = 8889 }
    }

    # What the host itself keeps: the journal, key sets, kv without KV_URL.
    ephemeral_disk {
      sticky = true
    }

    service {
      name     = "luafn"
      port     = "http"
      provider = "nomad"

      check {
        type     = "http"
        port     = "admin"
        path     = "/_luafn/ready"
        interval = "2s"
        timeout  = "3s"
      }
    }

    task "luafn" {
      driver = "docker"

      # More than --drain and the two seconds of grace after it.
      kill_signal  = "SIGTERM"
      kill_timeout = "40s"
      # So long the service has forgotten it before it ends.
      shutdown_delay = "3s"

      config {
        image           = "luafn:latest"
        args            = ["serve", "--config=/srv/app/functions.lua", "--listen=0.0.0.0:8888", "--admin=0.0.0.0:8889", "--workers=2", "--drain=30s"]
        ports           = ["http", "admin"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        volumes         = ["../alloc/data:/srv/.luafn"]
      }

      resources {
        cpu    = 500
        memory = 256
      }
    }
  }
}
