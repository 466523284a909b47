"""Compare inplace-abn.json with inplace_abn itself. usage: make_inplace_abn.py   (inplace_abn 1.1.0, torch 2.13.0, CPU)

pip compiles the package, which takes minutes: pip install torch==2.13.0 setuptools setuptools-scm vcs-versioning wheel ninja,
then pip install --no-build-isolation inplace-abn==1.1.0. For that reason it is not part of make dialects-verified.
"""
import json, pathlib, torch
from inplace_abn import InPlaceABN
torch.set_default_dtype(torch.float64)
golden=json.loads(pathlib.Path(__file__).with_name('inplace-abn.json').read_text())
layer=InPlaceABN(1,activation='identity').double()
assert {'eps':layer.eps,'momentum':layer.momentum}==golden['defaults'], layer
def check(name,got,wanted,limit=1e-7): assert (torch.as_tensor(got)-torch.as_tensor(wanted)).abs().max()<limit, (name,got,wanted)
for batch,state in zip(golden['batches'],golden['states']):
    y=layer(torch.tensor(batch,dtype=torch.float64).reshape(-1,1))
    if batch==golden['batches'][0]: check('y',y.detach().ravel(),golden['y'])
    for name,value in state.items(): check(name,getattr(layer,name),[value])
def formula(x,weight,bias):
    mean,var=x.mean(0),x.var(0,correction=0)
    return (weight.abs()+layer.eps)*(x-mean)/torch.sqrt(var+layer.eps)+bias
for weight in (2.,-2.):
    with torch.no_grad(): layer.weight.fill_(weight)
    layer.zero_grad()
    leaves=[torch.tensor(golden['batches'][0],dtype=torch.float64).reshape(-1,1).requires_grad_()]+[p.detach().clone().requires_grad_() for p in (layer.weight,layer.bias)]
    x=leaves[0].detach().clone().requires_grad_(); dy=torch.tensor([[1.],[0.],[0.],[0.]])
    layer(x*1).backward(dy); formula(*leaves).backward(dy)  # x*1: it writes over what it is given
    for name,ours,theirs in zip(('dx','dgamma','dbeta'),leaves,(x,layer.weight,layer.bias)): check(name,theirs.grad,ours.grad,1e-10)
try: layer(torch.ones(1,1)); raise SystemExit('one value per channel was not refused')
except ValueError: pass
print('all as in the golden and by the formula; arrays:',list(layer.state_dict()))
