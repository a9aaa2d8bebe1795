from hypothesis import HealthCheck, settings

# A loaded machine is no failure: examples are counted, not timed.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# What passed once passes again: new examples are looked for on purpose (explore), never by CI.
settings.register_profile("padaudit", settings.get_profile("explore"), derandomize=True)
settings.load_profile("padaudit")
