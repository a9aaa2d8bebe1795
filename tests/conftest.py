from hypothesis import HealthCheck, settings

# A loaded machine is no failure: examples are counted, not timed.
settings.register_profile("padaudit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("padaudit")
