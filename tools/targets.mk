# Targets for people and CI; the build rules are in ../Makefile.

.PHONY: unit
unit: $(if $(T),$(OUT)/tests/unit/$(T)_test,$(UNIT_BIN)) ## C unit tests; T=http_parser runs one file
	$(Q)for t in $^; do echo "# $$t"; CMOCKA_MESSAGE_OUTPUT=TAP $$t || exit 1; done

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build
