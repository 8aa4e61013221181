"""The curated mutants: file, piece, change; which tests run on which file; and which changes nothing can notice."""

from __future__ import annotations

STEPS = "tests/test_options.py tests/test_steps.py"
TESTS = {
    "methods/": f"{STEPS} tests/test_methods.py tests/test_selecting_methods.py",
    "methods/alasca/": f"{STEPS} tests/test_wrapper.py tests/test_criterion.py tests/test_doors.py "
    "tests/test_stores.py",
    "methods/registry.py": "tests/test_methods.py tests/test_doors.py tests/test_cli.py",
    "functional/": "src/alasca/functional tests/test_losses.py tests/test_functional.py tests/test_theory.py "
    "tests/test_selection.py tests/test_noise.py tests/test_criterion.py",
    "functional/gradients.py": "src/alasca/functional tests/test_methods.py",
    "functional/ensembles.py": "src/alasca/functional tests/test_wrapper.py",
    "functional/selection.py": "src/alasca/functional tests/test_selection.py tests/test_selecting_methods.py",
    "stores/": "tests/test_stores.py tests/test_engine.py tests/test_doors.py",
    "sample_selection.py": "tests/test_selecting_methods.py tests/test_selection.py",
    "engine/": f"{STEPS} tests/test_engine.py tests/test_doors.py tests/test_wrapper.py tests/test_methods.py",
    "engine/metrics.py": f"{STEPS} tests/test_engine.py tests/test_selecting_methods.py tests/test_wrapper.py",
    "engine/workbench.py": f"tests/test_files.py {STEPS} tests/test_engine.py tests/test_methods.py",
    "data/": "tests/test_data.py tests/test_files.py tests/test_doors.py tests/test_sources.py tests/test_text.py "
    "tests/test_tasks.py",
    "surgery/": f"{STEPS} tests/test_surgery.py tests/test_wrapper.py tests/test_criterion.py",
    "core/": f"{STEPS} tests/test_doors.py tests/test_engine.py tests/test_wrapper.py tests/test_criterion.py",
}
"""By the beginning of a file's path; the longest that fits counts."""

Change = tuple[str, str]
MUTANTS: dict[str, list[Change]] = {
    "methods/dividemix.py": [
        ("loss + self.weight(clock) * (", "loss + 0 * ("),
        ("loss = loss + from_uniform(output.logits.softmax(1))", "pass"),
        ("targets += [target, target]", "targets += [target.flip(1), target.flip(1)]"),
        ("peer = evaluated(nets[1 - k]", "peer = evaluated(nets[k]"),
        ("self.mixture.clean[probe.index, 1 - k]", "self.mixture.clean[probe.index, k]"),
        ("own = (p[:size] + p[size : 2 * size]) / 2", "own = p[:size]"),
        ("target = sharpen(target, self.temperature)\n        targets, seen", "targets, seen"),
        ('lam = clock.draws["lam"]', 'lam = 1 - clock.draws["lam"]'),
        ("loss = loss - soft_cross_entropy(", "loss = loss + soft_cross_entropy("),
        ("batch=self.wide", "batch=None"),
        ("chosen = clean > self.threshold", "chosen = clean > 0.5"),
        ("self.average).to(", "1).to("),
    ],
    "methods/jocor.py": [
        ("loss = masked_mean(batch.weight * losses, kept)", "loss = (batch.weight * losses).mean()"),
        ("batch.labels, self.co_lambda)", "batch.labels, 1 - self.co_lambda)"),
        ("self.forget.learned.update(batch.index, kept, kept)", "pass"),
    ],
    "methods/elr_plus.py": [
        ("self.averages[k], self.averages[1 - k]", "self.averages[k], self.averages[k]"),
        ("softmax(1), self.beta)", "softmax(1), 0.5)"),
        ("losses = losses + self.ramp(own.updates) * self.lam", "losses = losses + self.lam"),
        ("if self.reweight:", "if not self.reweight:"),
        ("target = mix(t, order, lam)", "target = t"),
        ("average.update(backbone(nets[k])", "average.update(backbone(nets[1 - k])"),
        ("return (1 - 1 / (done + 2)).clamp(max=self.decay)", "return (1 - 1 / (done + 1)).clamp(max=self.decay)"),
        ("rising((done + 1) / self.ramp_steps)", "rising(done / self.ramp_steps)"),
    ],
    "methods/crust.py": [
        (
            'torch.lerp(batches["partners"].views[0], x, lam.to(x.dtype))',
            'torch.lerp(x, batches["partners"].views[0], lam.to(x.dtype))',
        ),
        (
            "losses = batch.weight * cross_entropy(output.logits, batch.labels)\n        mixed",
            "losses = cross_entropy(output.logits, batch.labels)\n        mixed",
        ),
        ('probe.labels if self.group_by == "given" else', 'probe.labels if self.group_by != "given" else'),
        ("Mixed(0, output.aux, rows, rows + len(rows),", "Mixed(0, output.aux, rows, rows,"),
        ("residual = output.logits.softmax(1) - hot", "residual = output.logits.softmax(1)"),
        ("sizes = torch.ones_like(medoids)", "sizes = torch.zeros_like(medoids)"),
        ("if clock.epoch < self.start:", "if clock.epoch <= self.start:"),
        ('self.get_buffer("weight")[index] = weight', "pass"),
    ],
    "methods/fine.py": [
        ("kept[probe.index[own]] = better | ~better.any()", "kept[probe.index[own]] = better"),
        ("batch.labels - first, own", "batch.labels, own"),
        ('Stream(probe.index[self.get_buffer("kept")[probe.index]])', "Stream(probe.index)"),
        ("own, kept[batch.index])", "own)"),
        ("since % self.every == 0", "since == 0"),
        ('"high", tol', '"low", tol'),
        (
            "loss = (batch.weight * cross_entropy(output.logits, batch.labels)).mean()",
            "loss = cross_entropy(output.logits, batch.labels).sum()",
        ),
    ],
    "methods/coteaching.py": [
        ("second, first = (self.forget", "first, second = (self.forget"),
        ("+ masked_mean(batch.weight * losses[1], second)", ""),
        ("self.forget.look(nets, probe, clock)", "pass"),
    ],
    "methods/coteaching_plus.py": [
        ("second, first = (self.forget", "first, second = (self.forget"),
        ("return differ | ~differ.any()", "return torch.ones_like(differ)"),
        ("return differ | ~differ.any()", "return differ"),
        ("self.forget.warmup + self.forget.ramp", "self.forget.warmup"),
    ],
    "methods/decoupling.py": [
        ("differ if clock.epoch >= self.warmup", "differ if clock.epoch > self.warmup"),
        ("min=self.floor * len(chosen)", "min=1"),
        ("(batch.weight * chosen * torch.stack(losses)).sum()", "(batch.weight * chosen * losses[0]).sum()"),
        ("self.learned.update(batch.index, chosen, chosen)", "pass"),
    ],
    "methods/ce.py": [("return cross_entropy(logits, batch.labels)", "return cross_entropy(logits, logits.argmax(1))")],
    "methods/cdr.py": [
        ("return cross_entropy(logits, batch.labels)", "return cross_entropy(logits, logits.argmax(1))"),
        (".mul_(1 - self.noise_rate)", ""),
        ("gradient.mul_(part >= threshold)", "gradient.mul_(part < threshold)"),
        ("gradient.add_(weight.sign(), alpha=self.strength)", "gradient.sub_(weight.sign(), alpha=self.strength)"),
        ("(weight * gradient).abs()", "gradient.abs()"),
    ],
    "methods/elr.py": [
        ("+ self.lam * elr_regularizer", "- self.lam * elr_regularizer"),
        ("p / p.sum(1, keepdim=True), self.beta", "p / p.sum(1, keepdim=True), 0.5"),
        ("self.memory.update(batch.index", "self.memory.read(batch.index); (batch.index"),
    ],
    "methods/gce.py": [("gce(logits, batch.labels, self.q)", "gce(logits, batch.labels, 0.5)")],
    "methods/truncated_gce.py": [
        ("net = (probe.best or nets)[0]", "net = nets[0]"),
        ("p > self.k\n        return", "p < self.k\n        return"),
        ("gce(logits, batch.labels, self.q), pruned)", "gce(logits, batch.labels, self.q), 0.0)"),
        ("since % self.every == 0", "since == 0"),
        ("if bool((p > self.k).any()):", "if True:"),
    ],
    "methods/sce.py": [("self.alpha, self.beta, self.log_zero)", "self.beta, self.alpha, self.log_zero)")],
    "methods/mae.py": [("mae(logits, batch.labels, self.scale)", "mae(logits, batch.labels)")],
    "methods/apl.py": [("return self.alpha * active", "return active"), ("self.beta * PASSIVE", "1.0 * PASSIVE")],
    "methods/agce.py": [("self.a, self.q)", "self.q, self.a)"), ("self.alpha * nce(", "nce(")],
    "methods/aul.py": [("self.a, self.q)", "self.a, 1.0)")],
    "methods/ael.py": [("batch.labels, self.a)", "batch.labels, 1.0)")],
    "methods/lsr.py": [("1 - self.alpha, self.off_target", "self.alpha, self.off_target")],
    "methods/als.py": [
        ("if clock.epoch < self.warmup:", "if clock.epoch <= self.warmup:"),
        ("batch.labels, self.scale)", "batch.labels)"),
    ],
    "methods/bootstrapping.py": [
        ("self.hard, self.detach)", "self.hard)"),
        ("(0.8 if hard else 0.95)", "(0.95 if hard else 0.8)"),
    ],
    "methods/tf_kd.py": [("self.a, self.temperature)", "self.a, 1.0)")],
    "methods/tf_kd_code.py": [
        ("True, self.multiplier)", "False, self.multiplier)"),
        ("True, self.multiplier)", "True)"),
    ],
    "methods/early_stopping.py": [
        ('select = "noisy-val"', 'select = "last"'),
        ("return cross_entropy(logits, batch.labels)", "return cross_entropy(logits, logits.argmax(1))"),
    ],
    "methods/mixup.py": [
        ("weight[order] * cross_entropy(output.logits, y[order])", "weight * cross_entropy(output.logits, y)"),
        ("torch.lerp(second, first,", "torch.lerp(first, second,"),
        ("mixing_weight(self.alpha, self.alpha)", "mixing_weight(1.0, 1.0)"),
    ],
    "methods/gjs.py": [
        ("(1 - label_weight) / num_views", "1 / num_views"),
        ("self.weights, self.scaled)", "self.weights)"),
        ("views=(self.view,)", 'views=("weak",)'),
    ],
    "methods/byot.py": [
        ("+ self.alpha * taught", "+ taught"),
        ("(1 - self.alpha) * cross_entropy(logits", "cross_entropy(logits"),
        ("feature_of(output).detach()", "feature_of(output)"),
        ("scale = self.temperature**2 if self.t_squared else 1.0", "scale = 1.0"),
        ("squares = squares * ((feature > 0) | (teacher > 0))", "pass"),
        ("return squares.sum(1)", "return squares.mean(1)"),
    ],
    "methods/one.py": [
        ("factor = self.weight(clock) * self.temperature**2", "factor = self.weight(clock)"),
        ("losses = cross_entropy(ensemble, batch.labels)", "losses = 0 * cross_entropy(ensemble, batch.labels)"),
        ("+ factor * distillation(own, ensemble,", "+ factor * distillation(own, own,"),
        (".softmax(1)  # type", ".sigmoid()  # type"),
    ],
    "methods/har.py": [
        ('self.get_buffer("tau")[batch.labels] * norms', "norms"),
        ("+ self.weight * penalty", "+ penalty"),
        ("norms = norms / (len(losses) * world()[1])", "pass"),
        ('self.norm == "sum")', 'self.norm == "root")'),
        ("tau.copy_(class_strengths(", "(class_strengths("),
        ("(layers[1:] or layers)", "layers"),
    ],
    "methods/alasca/wrapper.py": [
        (
            "loss = torch.cat([loss, self._loss(k, output, self._observe(k, output, batches[name], clock.epoch))])",
            "self._observe(k, output, batches[name], clock.epoch)",
        ),
        ("if item.net not in phase.train:", "if False:"),
        ("trained=set(phase.train) - on_mixed", "trained=set(phase.train)"),
        ("if mixed and shown:", "if mixed:"),
        ("inner.loss + self.aux_weight * auxiliary", "inner.loss + auxiliary"),
        ("torch.stack(losses).sum()", "torch.stack(losses).mean()"),
        ("torch.lerp(second, first, item.lam", "torch.lerp(first, second, item.lam"),
        ('if mixed and self.on == "mixed"', 'if mixed and self.on != "mixed"'),
        ("(*inner.seen, *extras)", "inner.seen"),
        ("smoothing = replace(smoothing, warmup=None)", "pass"),
        (
            '"average": log_mean_softmax([*mains, *(output.aux[-1]',
            '"average": log_mean_softmax([*mains, *(output.aux[0]',
        ),
        ('"all": log_mean_softmax([*mains, *subs])', '"all": log_mean_softmax(subs)'),
        ('"sub": log_mean_softmax(subs)', '"sub": log_mean_softmax(mains)'),
        ("net.attach(self.at, problem.example, self.head,", 'net.attach(self.at, problem.example, "bottleneck",'),
        ("left = probe.index[~torch.isin(", "left = probe.index[torch.isin("),
        ('Stream(left)}, observe=(*phase.observe, "rest")', "Stream(left)}, observe=phase.observe"),
    ],
    "methods/alasca/objective.py": [
        ("epoch >= options.warmup", "epoch > options.warmup"),
        ("gamma, self.smoothing.off_target).sum(0)", "gamma, self.smoothing.off_target).mean(0)"),
        ("store.update(index, logits, momentum, labels)", "store.update(index, logits, 0.5, labels)"),
        ("confidence(store.read(index), labels, options.temperature)", "confidence(store.read(index), labels, 1.0)"),
        ("ramped_confidence(gamma, options.ramp, epoch)", "gamma"),
        ("momentum = linear_ramp(*momentum, epoch)", "momentum = momentum[0]"),
        ("options.agreement)", '"deepest")'),
        ("make_store(smoothing.store,", 'make_store("float32",'),
        ("smoothing.temperature, smoothing.store_dir)", "smoothing.temperature, None)"),
        ('gammas[0] if options.confidence_from == "main" else', "gammas[0] if True else"),
        ("masked_fill(visits == 0, torch.nan)", "masked_fill(visits < 0, torch.nan)"),
    ],
    "functional/losses.py": [
        ("math.exp(log_off) * ((classes - 1) * log_off - rest)", "math.exp(log_off) * (classes * log_off - rest)")
    ],
    "functional/ensembles.py": [
        ("logsumexp(0) - math.log(len(logits))", "logsumexp(0)"),
        ("each.log_softmax(1)", "each"),
    ],
    "sample_selection.py": [
        ("clock.epoch == max(self.warmup, 1)", "clock.epoch == self.warmup"),
        ("(1 - rising * self.rate) * size", "(1 - self.rate) * size"),
        (
            "small_loss(losses.detach().masked_fill(~pool, torch.inf), keep) & pool",
            "small_loss(losses.detach(), keep) & pool",
        ),
        ("(found - low) / (high - low).clamp(min=1e-12)", "found"),
        ("nanmean(0)", "nansum(0)"),
    ],
    "stores/table.py": [
        ("torch.lerp(old, mean, 1 - momentum)", "torch.lerp(old, mean, momentum)"),
        ("torch.where(sound[:, None], new, old)", "new"),
        ("self.visits.index_copy_(0, index, self.visits[index] + sound)", "pass"),
        ("self.skipped += len(index) - sound.sum()", "pass"),
    ],
    "stores/trace.py": [
        ("self.differing.index_add_(0, index, differs.int())", "self.differing.index_add_(0, index, one)"),
        ("differs = rows[:, 2].int(), rows[:, 1] < 0", "differs = rows[:, 2].int(), rows[:, 1] > 0"),
        ("(votes == 0) | (held == rival)", "held == rival"),
        ("self.fresh.index_fill_(0, index, True)", "pass"),
        ("self.sub_margin.index_add_(0, index, rows[:, 4])", "self.sub_margin.index_add_(0, index, rows[:, 1])"),
        (
            "self.sub_probability.index_add_(0, index, rows[:, 3])",
            "self.sub_probability.index_add_(0, index, rows[:, 0])",
        ),
    ],
    "engine/update.py": [
        ("nn.utils.clip_grad_norm_(net.parameters(), self.recipe.clip)", "pass"),
        ("self.method.on_gradients(backbone(net), clock)", "pass"),
        ("self.method.on_updated(self.nets, phase, clock)", "pass"),
        ("step.loss / parts", "step.loss"),
        ("self.optimizers.zero_grad()", "pass"),
        ("self.optimizers.set_lr(factor)", "self.optimizers.set_lr(1.0)"),
        ("partners=False", "partners=True"),
        ("add_step(self.sums, step, self.device)", "pass"),
        ("self.watch.see(step.loss)", "pass"),
        ("if self.scaler.get_scale() >= before:", "if True:"),
    ],
    "engine/optimizers.py": [
        (
            "return torch.optim.AdamW(parameters, recipe.lr, weight_decay=decay, fused=fused)",
            "return torch.optim.AdamW(parameters, recipe.lr, weight_decay=0, fused=fused)",
        ),
        (
            "torch.optim.SGD(parameters, recipe.lr, recipe.momentum, weight_decay=decay",
            "torch.optim.SGD(parameters, recipe.lr, recipe.momentum, weight_decay=0",
        ),
        ("self.recipe.lr * factor * scale if scale != 1", "self.recipe.lr * factor if scale != 1"),
        ("for group in rows], recipe.lr)", "for group in rows], recipe.lr, 0.9)"),
        ('fused = recipe.optimizer == "adamw" or recipe.precision != "fp16"', "fused = True"),
    ],
    "engine/schedule.py": [
        ('if recipe.schedule == "constant":', 'if recipe.schedule != "constant":'),
        ("clock.epoch >= milestone", "clock.epoch > milestone"),
        ("epochs % recipe.restart_epochs / recipe.restart_epochs", "epochs % recipe.restart_epochs / 10"),
        ('lowest = 0.0 if recipe.schedule == "onecycle" else recipe.lr_min / recipe.lr', "lowest = 0.0"),
    ],
    "engine/workbench.py": [
        ("set_arithmetic(net, job.recipe.precision,", 'set_arithmetic(net, "float32",'),
        ("if before is None or self.stage.fresh:", "if before is None:"),
        ("index = self.loader.pool.draw(self.number, epoch)", "index = self.loader.pool.draw(self.number, 0)"),
        ('| prefixed("trace", self.trace.state_dict())', ""),
        ('load_module(self.job.method, under("method", tensors), "the method")', "pass"),
        ('self.update.optimizers.load(under("optimizer", tensors))', "pass"),
    ],
    "engine/loop.py": [
        ("self.trace.new_epoch()", "pass"),
        ("see_the_unseen(self.trace, bench.nets, bench.probe)", "pass"),
        ("load_networks(self.bench.nets, self.state.best)", "pass"),
        ("method.end_stage(self.bench.nets", "(lambda *a: None)(self.bench.nets"),
        ('self._seed("step", where.phase, where.step)', "pass"),
        ('self._seed("plan")', "pass"),
        ("self.state.best, self.state.best_accuracy, self.state.best_epoch = {}, -1.0, -1", "pass"),
        ("sum(updates[: where.phase]) + where.step // each", "where.step // each"),
        ("min(each, last - where.step + where.step % each)", "each"),
        ("bench.update.sums.clear()", "pass"),
        ("clock.step.fill_(where.optimizer_step)", "pass"),
    ],
    "engine/probe.py": [
        ("index = pool[~trace.fresh[pool]]", "index = pool[trace.fresh[pool]]"),
        ("torch.cat([probe.index, probe.rest.index])", "probe.index"),
        ("with evaluating([*plain, method]):", "with torch.no_grad():"),
        ("pool.index[~torch.isin(pool.index, part)]", "pool.index[torch.isin(pool.index, part)]"),
    ],
    "engine/metrics.py": [
        ('{"{}_accuracy": right[method.prediction], **kinds}', '{"{}_accuracy": right["main"], **kinds}'),
        (
            'result["memorised"] = percent(found[wrong] == given[wrong])',
            'result["memorised"] = percent(found[wrong] != given[wrong])',
        ),
    ],
    "surgery/passes.py": [
        ("layer.track_running_stats = False", "pass"),
        ("with torch.no_grad(), quiet_batchnorm(net):", "with torch.no_grad():"),
        ("with quiet_batchnorm(backbone(net)):", "with quiet_batchnorm(net):"),
    ],
    "core/method.py": [
        (
            "loss = (batch.weight * self.loss(output.logits, batch, clock)).mean()",
            "loss = self.loss(output.logits, batch, clock).mean()",
        ),
        ("selection.kept.float().mean(1)", "selection.kept.float().amax(1)"),
    ],
    "data/transform.py": [
        ("return (values - self.mean.view(shape)) / self.std.view(shape)", "return values - self.mean.view(shape)"),
        ('"randaugment": (1, 0.1, 2)', '"randaugment": (1, 0.1, 4)'),
    ],
    "data/split.py": [
        ("samples = samples.fitted(train)", "samples = samples.fitted()"),
        ("torch.cat([held, torch.tensor(task.blank, dtype=torch.int64)])", "held"),
    ],
}

EQUIVALENT: dict[tuple[str, str], str] = {
    ("engine/schedule.py", "done <= RISE"): "both sides of the top give a factor of one",
    ("functional/selection.py", "value > 0"): "no probability of zero is above its class's mean",
    ("data/split.py", "task.mean is not None or task.std is not None"): "every source gives both or none",
}
"""Mutants that nothing can notice, by file and what they put there, with the reason."""
