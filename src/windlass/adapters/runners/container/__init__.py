"""Where runs are containers of a Docker-compatible engine (Docker or Podman): `runner.ContainerRunner`.

The engine is asked in one module only (`engine.py`); what a container may do is decided in one other (`plan.py`).
"""
