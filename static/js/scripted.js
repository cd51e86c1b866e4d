// Controls marked .needs-script exist only once scripts have really run, not when they are merely allowed.
document.documentElement.dataset.scripted = "";
